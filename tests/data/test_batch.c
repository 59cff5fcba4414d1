/* Character n-grams, encoded texts, batches: known buckets, packing, order, resuming. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fovea/data.h"
#include "support/scratch.h"

/* ---- n-grams */

/* The hash, written again from its definition. */
static int32_t bucket_of(const char *gram, int bits) {
    uint64_t h = 14695981039346656037u;
    for (; *gram; gram++) h = (h ^ (unsigned char)*gram) * 1099511628211u;
    return (int32_t)((h ^ h >> 32) % ((uint64_t)1 << bits));
}

static void check_ngrams(const char *word, int64_t low, int64_t high, const char *const *gram) {
    fv_ngram_options o = {low, high, 17};
    int32_t found[64];
    int64_t n = fv_ngrams(found, 64, word, strlen(word), &o), i = 0;
    for (; gram[i]; i++) {
        assert_true(i < n);
        assert_int_equal(found[i], bucket_of(gram[i], 17));
    }
    assert_int_equal(n, i);
}

static void test_ngrams(void **state) {
    (void)state;
    check_ngrams("cat", 3, 5, (const char *const[]){"<ca", "<cat", "<cat>", "cat", "cat>", "at>", NULL});
    check_ngrams("a", 3, 5, (const char *const[]){"<a>", NULL});
    check_ngrams("", 3, 5, (const char *const[]){NULL});
    check_ngrams("ab", 1, 2, (const char *const[]){"<", "<a", "a", "ab", "b", "b>", ">", NULL});
    check_ngrams("\xC3\xA9\xE4\xB8\xAD", 2, 3,
                 (const char *const[]){"<\xC3\xA9", "<\xC3\xA9\xE4\xB8\xAD", "\xC3\xA9\xE4\xB8\xAD",
                                       "\xC3\xA9\xE4\xB8\xAD>", "\xE4\xB8\xAD>", NULL});
}

/* Saved models depend on these numbers: they must never change. */
static void test_ngram_values(void **state) {
    (void)state;
    fv_ngram_options o = {3, 5, 20}, none = {3, 5, 0};
    int32_t b[6];
    static const int32_t known[] = {757555, 604276, 719272, 500798, 592875, 1003579};
    assert_int_equal(fv_ngrams(b, 6, "cat", 3, &o), 6);
    for (int i = 0; i < 6; i++) assert_int_equal(b[i], known[i]);
    assert_int_equal(fv_ngrams(b, 2, "cats", 4, &o), 9); /* says how many there are, writes no more than fit */
    assert_int_equal(fv_ngrams(b, 6, "cat", 3, &none), 0);
}

/* ---- corpus */

typedef struct made {
    fv_dataset *data;
    fv_tokenizer *t;
    fv_corpus *corpus;
} made;

static fv_status make(made *m, int rows, fv_corpus_options o) {
    fv__buf text = {0};
    fv__buf_text(&text, "label,text\n");
    for (int i = 0; i < rows; i++) {
        fv__buf_text(&text, i % 3 ? "many," : "few,");
        for (int64_t k = fv__random_below(5, 1, (uint64_t)i, 20); k >= 0; k--)
            fv__buf_printf(&text, "word%d ", (i * 7 + (int)k) % 40);
        fv__buf_text(&text, "\n");
    }
    *m = (made){0};
    fv_status status = fv__buf_status(&text);
    if (status == FV_OK) status = fv_dataset_parse(&m->data, "a.csv", text.data, text.size, NULL, NULL, true);
    if (status == FV_OK) status = fv_tokenizer_train(&m->t, m->data->texts, NULL);
    if (status == FV_OK) status = fv_corpus_create(&m->corpus, m->data, m->t, &o);
    fv__buf_free(&text);
    return status;
}

static void drop(made *m) {
    fv_corpus_free(m->corpus);
    fv_tokenizer_free(m->t);
    fv_dataset_free(m->data);
}

static void test_corpus(void **state) {
    (void)state;
    const char text[] = "label,text\na,Cats cat unknownword\nb,\nb,cat cat cat cat cat cats cats\n";
    fv_corpus_options o = {.max_length = 4, .add_cls = true, .ngrams = {3, 5, 12}};
    fv_dataset *d;
    fv_tokenizer *t;
    fv_corpus *c;
    fv_tokenizer_options words;
    fv_options_init(fv_tokenizer_option_rows(), &words);
    assert_int_equal(fv_dataset_parse(&d, "a.csv", text, strlen(text), NULL, NULL, true), FV_OK);
    assert_int_equal(fv_tokenizer_train(&t, d->texts, &words), FV_OK); /* min-count 2: cat, cats */
    assert_int_equal(fv_corpus_create(&c, d, t, &o), FV_OK);
    int32_t cls = fv_tokenizer_special(t).cls, unk = fv_tokenizer_special(t).unk, cat = fv_tokenizer_id(t, "cat"),
            cats = fv_tokenizer_id(t, "cats");
    const int32_t expected[] = {cls, cats, cat, unk, cls, cls, cat, cat, cat};
    const int64_t start[] = {0, 4, 5, 9};
    assert_int_equal(c->count, 3);
    assert_memory_equal(c->start, start, sizeof start);
    assert_memory_equal(c->id, expected, sizeof expected);
    assert_int_equal(c->cut, 1);
    assert_int_equal(c->forms, 4); /* none, cats, cat, unknownword: unknown words have n-grams too */
    const int32_t form[] = {0, 1, 2, 3, 0, 0, 2, 2, 2};
    assert_memory_equal(c->form, form, sizeof form);
    int32_t ngrams[64];
    int64_t n = fv_ngrams(ngrams, 64, "unknownword", 11, &o.ngrams);
    assert_int_equal(c->bag_start[0], c->bag_start[1]);
    assert_int_equal(c->bag_start[4] - c->bag_start[3], n);
    assert_memory_equal(c->bag + c->bag_start[3], ngrams, (size_t)n * sizeof *ngrams);
    assert_int_equal(c->label[1], 1);
    fv_corpus_free(c);
    o.add_cls = false;
    assert_int_equal(fv_corpus_create(&c, d, t, &o), FV_OK);
    assert_int_equal(c->start[2] - c->start[1], 1); /* an empty text has one unknown token */
    assert_int_equal(c->id[c->start[1]], unk);
    fv_corpus_free(c);
    o.max_length = 0;
    assert_int_equal(fv_corpus_create(&c, d, t, &o), FV_USAGE);
    fv_tokenizer_free(t);
    fv_dataset_free(d);
}

/* More texts than are encoded together, with one thread and with many: the same ids, forms and bags. */
static void test_corpus_for_any_threads(void **state) {
    (void)state;
    made one, many;
    const fv_corpus_options o = {.max_length = 9, .ngrams = {3, 4, 10}};
    fv_set_threads(1);
    assert_int_equal(make(&one, 1300, o), FV_OK);
    fv_set_threads(5);
    assert_int_equal(make(&many, 1300, o), FV_OK);
    fv_set_threads(0);
    const fv_corpus *a = one.corpus, *b = many.corpus;
    size_t tokens = (size_t)a->start[a->count];
    assert_true(a->count == 1300 && a->cut > 0 && a->cut == b->cut && a->forms == b->forms);
    assert_memory_equal(a->start, b->start, 1301 * sizeof *a->start);
    assert_memory_equal(a->id, b->id, tokens * sizeof *a->id);
    assert_memory_equal(a->form, b->form, tokens * sizeof *a->form);
    assert_memory_equal(a->bag, b->bag, (size_t)a->bag_start[a->forms] * sizeof *a->bag);
    fv_tokens alone = {0};
    for (int64_t i = 0; i < a->count; i += 511) {
        assert_int_equal(fv_tokenizer_encode(one.t, &alone, one.data->texts.text[i], one.data->texts.size[i]), FV_OK);
        assert_int_equal(a->id[a->start[i]], alone.id[0]);
    }
    fv_tokens_free(&alone);
    drop(&one);
    drop(&many);
}

/* Pieces of a word share its form. */
static void test_forms_of_pieces(void **state) {
    (void)state;
    const char text[] = "label,text\na,running jumping\nb,jumping Running\n";
    fv_dataset *d;
    fv_tokenizer *t;
    fv_corpus *c;
    fv_tokenizer_options how;
    fv_corpus_options o = {.max_length = 50, .ngrams = {3, 3, 10}};
    fv_options_init(fv_tokenizer_option_rows(), &how);
    how.tokenizer = "wordpiece";
    how.vocab_size = 16;
    assert_int_equal(fv_dataset_parse(&d, "a.csv", text, strlen(text), NULL, NULL, true), FV_OK);
    assert_int_equal(fv_tokenizer_train(&t, d->texts, &how), FV_OK);
    assert_int_equal(fv_corpus_create(&c, d, t, &o), FV_OK);
    assert_true(c->start[1] > 2);
    assert_int_equal(c->forms, 3);
    assert_int_equal(c->form[0], c->form[1]);
    assert_int_equal(c->form[0], c->form[c->start[2] - 1]);
    fv_corpus_free(c);
    fv_tokenizer_free(t);
    fv_dataset_free(d);
}

static void check_bag(const fv_corpus *c, int64_t token, int bits, const char *const *gram) {
    int64_t form = c->form[token], at = c->bag_start[form];
    for (; *gram; gram++, at++) {
        assert_true(at < c->bag_start[form + 1]);
        assert_int_equal(c->bag[at], bucket_of(*gram, bits));
    }
    assert_int_equal(at, c->bag_start[form + 1]);
}

/* Where every character is a token, its n-grams run on into those behind it; one character counts as two letters. */
static void test_forms_of_unspaced_text(void **state) {
    (void)state;
    const char text[] = "label,text\na,\u5F88\u597D\u5403\uFF0C\u5403\u5427cat\nb,\u0E14\u0E35\u0E21\u0E32\u0E01\n";
    fv_dataset *d;
    fv_tokenizer *t;
    fv_corpus *c;
    fv_corpus_options o = {.max_length = 50, .ngrams = {3, 5, 12}};
    assert_int_equal(fv_dataset_parse(&d, "a.csv", text, strlen(text), NULL, NULL, true), FV_OK);
    assert_int_equal(fv_tokenizer_train(&t, d->texts, NULL), FV_OK);
    assert_int_equal(fv_corpus_create(&c, d, t, &o), FV_OK);
    assert_int_equal(c->start[1], 7);
    check_bag(c, 0, 12, (const char *const[]){"\u5F88\u597D", "\u5F88\u597D\u5403", NULL});
    check_bag(c, 1, 12, (const char *const[]){"\u597D\u5403", NULL}); /* a comma ends the run */
    check_bag(c, 2, 12, (const char *const[]){NULL});
    check_bag(c, 4, 12, (const char *const[]){"\u5403\u5427", NULL});
    check_bag(c, 6, 12, (const char *const[]){"<ca", "<cat", "<cat>", "cat", "cat>", "at>", NULL});
    check_bag(c, 7, 12, /* marks are part of their letter */
              (const char *const[]){"\u0E14\u0E35\u0E21", "\u0E14\u0E35\u0E21\u0E32", NULL});
    fv_corpus_free(c);
    fv_tokenizer_free(t);
    fv_dataset_free(d);
}

/* ---- batches */

static void check_batch(const fv_corpus *c, const fv_batch *b) {
    int32_t longest = 0;
    assert_int_equal(b->cu_seqlens[0], 0);
    assert_int_equal(b->cu_seqlens[b->rows], b->tokens);
    assert_int_equal(b->cu_bags[0], 0);
    for (int32_t i = 0; i < b->rows; i++) {
        int64_t row = b->row[i], length = c->start[row + 1] - c->start[row];
        int32_t at = b->cu_seqlens[i];
        assert_int_equal(b->cu_seqlens[i + 1] - at, length);
        assert_memory_equal(b->id + at, c->id + c->start[row], (size_t)length * sizeof *b->id);
        assert_int_equal(b->label[i], c->label[row]);
        if (length > longest) longest = (int32_t)length;
        for (int64_t k = 0; k < length; k++) {
            int64_t form = c->form[c->start[row] + k], size = c->bag_start[form + 1] - c->bag_start[form];
            assert_int_equal(b->cu_bags[at + k + 1] - b->cu_bags[at + k], size);
            assert_memory_equal(b->bag + b->cu_bags[at + k], c->bag + c->bag_start[form],
                                (size_t)size * sizeof *b->bag);
        }
    }
    assert_int_equal(b->longest, longest);
}

static const fv_corpus_options bags = {.max_length = 30, .add_cls = true, .ngrams = {3, 4, 10}};

static void test_epochs(void **state) {
    (void)state;
    made m;
    assert_int_equal(make(&m, 103, bags), FV_OK);
    for (int kind = 0; kind < 6; kind++) {
        fv_batch_options o = {.batch_size = 8,
                              .max_tokens = kind % 2 ? 90 : 0,
                              .bucket = kind < 2 ? 1 : 4,
                              .shuffle = kind < 4,
                              .seed = 3};
        fv_batches *b;
        fv_batch batch;
        fv_cursor cursor = {0};
        assert_int_equal(fv_batches_create(&b, m.corpus, &o), FV_OK);
        int64_t first[2] = {0};
        for (int64_t epoch = 0; epoch < 2; epoch++) {
            int64_t seen[103] = {0}, batches = 0;
            do {
                assert_int_equal(fv_batches_next(b, &batch, &cursor), FV_OK);
                check_batch(m.corpus, &batch);
                if (!batches++) first[epoch] = batch.row[0];
                for (int32_t i = 0; i < batch.rows; i++) seen[batch.row[i]]++;
                assert_in_range(batch.rows, 1, 8);
                if (o.max_tokens) assert_true(batch.tokens <= 90 || batch.rows == 1);
                if (o.bucket > 1 && !o.max_tokens)
                    for (int32_t i = 0; i + 1 < batch.rows; i++)
                        assert_true(batch.cu_seqlens[i + 1] - batch.cu_seqlens[i] <=
                                    batch.cu_seqlens[i + 2] - batch.cu_seqlens[i + 1]);
            } while (!batch.last);
            for (int i = 0; i < 103; i++) assert_int_equal(seen[i], 1); /* every text once an epoch */
            assert_int_equal(batches, fv_batches_count(b, epoch));
            if (!o.max_tokens) assert_int_equal(batches, 13);
            assert_int_equal(cursor.epoch, epoch + 1);
            assert_int_equal(cursor.position, 0);
        }
        if (o.shuffle) assert_int_not_equal(first[0], first[1]);
        fv_batches_free(b);
    }
    drop(&m);
}

static void test_order_without_shuffle(void **state) {
    (void)state;
    made m;
    assert_int_equal(make(&m, 50, bags), FV_OK);
    fv_batch_options o = {.batch_size = 8, .bucket = 1};
    fv_batches *b;
    fv_batch batch;
    fv_cursor cursor = {0};
    int64_t next = 0;
    assert_int_equal(fv_batches_create(&b, m.corpus, &o), FV_OK);
    do {
        assert_int_equal(fv_batches_next(b, &batch, &cursor), FV_OK);
        for (int32_t i = 0; i < batch.rows; i++) assert_int_equal(batch.row[i], next++);
    } while (!batch.last);
    assert_int_equal(next, 50);
    fv_batches_free(b);
    o.drop_last = true;
    assert_int_equal(fv_batches_create(&b, m.corpus, &o), FV_OK);
    assert_int_equal(fv_batches_count(b, 0), 6);
    fv_batches_free(b);
    drop(&m);
}

static uint64_t digest(const fv_batch *b) {
    uint64_t h = fv__hash(b->id, (size_t)b->tokens * sizeof *b->id, (uint64_t)b->rows);
    h = fv__hash(b->row, (size_t)b->rows * sizeof *b->row, h);
    return fv__hash(b->bag, (size_t)b->cu_bags[b->tokens] * sizeof *b->bag, h);
}

/* Stopping anywhere and going on from the two numbers of the cursor gives the same batches. */
static void test_resume(void **state) {
    (void)state;
    made m;
    assert_int_equal(make(&m, 200, bags), FV_OK);
    fv_batch_options o = {.batch_size = 16, .max_tokens = 200, .bucket = 3, .shuffle = true, .seed = 11};
    fv_batches *b;
    fv_batch batch;
    uint64_t whole[80];
    fv_cursor at[80], cursor = {0};
    assert_int_equal(fv_batches_create(&b, m.corpus, &o), FV_OK);
    for (int i = 0; i < 80; i++) {
        at[i] = cursor;
        assert_int_equal(fv_batches_next(b, &batch, &cursor), FV_OK);
        whole[i] = digest(&batch);
    }
    assert_true(cursor.epoch >= 2);
    fv_batches_free(b);
    for (int i = 79; i >= 0; i -= 3) {
        cursor = at[i];
        assert_int_equal(fv_batches_create(&b, m.corpus, &o), FV_OK);
        for (int k = i; k < 80 && k < i + 5; k++) {
            assert_int_equal(fv_batches_next(b, &batch, &cursor), FV_OK);
            assert_true(digest(&batch) == whole[k]);
        }
        fv_batches_free(b);
    }
    o.seed = 12;
    assert_int_equal(fv_batches_create(&b, m.corpus, &o), FV_OK);
    cursor = (fv_cursor){0};
    assert_int_equal(fv_batches_next(b, &batch, &cursor), FV_OK);
    assert_true(digest(&batch) != whole[0]);
    fv_batches_free(b);
    drop(&m);
}

static void test_no_allocation_in_the_loop(void **state) {
    (void)state;
    made m;
    assert_int_equal(make(&m, 120, bags), FV_OK);
    fv_batch_options o = {.batch_size = 16, .bucket = 3, .shuffle = true};
    fv_batches *b;
    fv_batch batch;
    fv_cursor cursor = {0};
    assert_int_equal(fv_batches_create(&b, m.corpus, &o), FV_OK);
    int64_t before = fv__alloc_count();
    while (cursor.epoch < 5) assert_int_equal(fv_batches_next(b, &batch, &cursor), FV_OK);
    assert_int_equal(fv__alloc_count(), before);
    fv_batches_free(b);
    drop(&m);
}

static void test_refused(void **state) {
    (void)state;
    made m;
    fv_corpus empty = {0};
    fv_batches *b;
    fv_batch batch;
    fv_batch_options bad = {.batch_size = 0, .bucket = 1};
    fv_cursor far = {0, 99};
    assert_int_equal(make(&m, 10, bags), FV_OK);
    assert_int_equal(fv_batches_create(&b, &empty, NULL), FV_BAD_DATA);
    assert_string_equal(fv_message(), "batches: texts\n  expected at least one\n  found:   none");
    assert_int_equal(fv_batches_create(&b, m.corpus, &bad), FV_USAGE);
    assert_string_equal(
        fv_message(),
        "batches: batch-size, bucket and max-tokens\n  expected at least 1, 1 and 0\n  found:   0, 1 and 0");
    assert_int_equal(fv_batches_create(&b, m.corpus, NULL), FV_OK);
    assert_int_equal(fv_batches_next(b, &batch, &far), FV_USAGE);
    assert_string_equal(fv_message(),
                        "batches: position in epoch 0\n  expected 0 to 0\n  found:   99\n  try:     the data and "
                        "batch-size of the run that "
                        "saved this position");
    fv_batches_free(b);
    drop(&m);
}

static void test_no_memory(void **state) {
    (void)state;
    bool done = false;
    for (int n = 1; n < 20000 && !done; n += n < 300 ? 1 : 29) {
        made m;
        fv_batches *b = NULL;
        fv__inject(FV_FAULT_ALLOC, n, false);
        fv_status status = make(&m, 10, bags);
        if (status == FV_OK) status = fv_batches_create(&b, m.corpus, NULL);
        done = status == FV_OK;
        fv__inject(FV_FAULT_ALLOC, 0, false);
        assert_true(done || status == FV_NO_RESOURCES);
        fv_batches_free(b);
        drop(&m);
    }
    assert_true(done);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ngrams),          cmocka_unit_test(test_ngram_values),
        cmocka_unit_test(test_corpus),          cmocka_unit_test(test_corpus_for_any_threads),
        cmocka_unit_test(test_forms_of_pieces), cmocka_unit_test(test_forms_of_unspaced_text),
        cmocka_unit_test(test_epochs),          cmocka_unit_test(test_order_without_shuffle),
        cmocka_unit_test(test_resume),          cmocka_unit_test(test_no_allocation_in_the_loop),
        cmocka_unit_test(test_refused),         cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
