/* Word vectors: neighbours that must be near, threads, files, malformed files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "fovea/data.h"
#include "fovea/files.h"
#include "fovea/vectors.h"
#include "support/scratch.h"

/* ---- texts with structure: four subjects of ten words each, between words that are common to all */

enum { SUBJECTS = 4, WORDS = 10, TEXTS = 400 };

typedef struct corpus {
    fv__buf text[TEXTS];
    const char *pointer[TEXTS];
    size_t size[TEXTS];
} corpus;

static fv_texts make_corpus(corpus *c) {
    memset(c, 0, sizeof *c);
    for (int i = 0; i < TEXTS; i++) {
        for (uint64_t k = 0; k < 30; k++) {
            uint64_t at = (uint64_t)i * 100 + k;
            if (fv__random_below(1, 1, at, 2))
                fv__buf_printf(&c->text[i], "common%d ", (int)fv__random_below(1, 2, at, 20));
            else
                fv__buf_printf(&c->text[i], "s%dw%d ", i % SUBJECTS, (int)fv__random_below(1, 3, at, WORDS));
        }
        c->pointer[i] = c->text[i].data;
        c->size[i] = c->text[i].size;
    }
    return (fv_texts){TEXTS, c->pointer, c->size};
}

static void drop_corpus(corpus *c) {
    for (int i = 0; i < TEXTS; i++) fv__buf_free(&c->text[i]);
}

static fv_vectors_options small(void) {
    fv_vectors_options o;
    fv_options_init(fv_vectors_option_rows(), &o);
    o.dim = 8;
    o.rank = 16;
    return o;
}

static corpus texts;

static void test_neighbours(void **state) {
    (void)state;
    fv_vectors_options o = small();
    fv_vectors *v;
    assert_int_equal(fv_vectors_train(&v, make_corpus(&texts), &o), FV_OK);
    assert_int_equal(v->count, SUBJECTS * WORDS + 20);
    assert_int_equal(v->dim, 8);
    for (int s = 0; s < SUBJECTS; s++)
        for (int w = 0; w < WORDS; w++) {
            char word[16], begin[8];
            int64_t near[5];
            float cosine[5];
            snprintf(word, sizeof word, "s%dw%d", s, w);
            snprintf(begin, sizeof begin, "s%dw", s);
            int64_t row = fv_vectors_find(v, word);
            assert_true(row >= 0);
            assert_int_equal(fv_vectors_nearest(v, row, near, cosine, 5), 5);
            for (int k = 0; k < 5; k++) {
                assert_memory_equal(v->word[near[k]], begin, 3); /* words of the same subject */
                assert_true(cosine[k] > 0.5 && (!k || cosine[k] <= cosine[k - 1]));
                assert_int_not_equal(near[k], row);
            }
        }
    for (int64_t r = 0; r < v->count; r++) {
        double norm = 0;
        for (int64_t j = 0; j < v->dim; j++) norm += (double)v->data[r * 8 + j] * v->data[r * 8 + j];
        assert_true(fabs(norm - 1) < 1e-5);
    }
    assert_int_equal(fv_vectors_find(v, "nosuchword"), -1);
    fv_vectors_free(v);
    drop_corpus(&texts);
}

static void test_any_number_of_threads(void **state) {
    (void)state;
    fv_vectors_options o = small();
    fv_vectors *v[4];
    fv_texts t = make_corpus(&texts);
    for (int i = 0; i < 4; i++) {
        fv_set_threads(i == 3 ? 7 : i + 1);
        assert_int_equal(fv_vectors_train(&v[i], t, &o), FV_OK);
    }
    fv_set_threads(0);
    for (int i = 1; i < 4; i++)
        assert_memory_equal(v[i]->data, v[0]->data, (size_t)(v[0]->count * v[0]->dim) * sizeof(float));
    for (int i = 0; i < 4; i++) fv_vectors_free(v[i]);
    drop_corpus(&texts);
}

/* A matrix small enough to work out: two words that only see each other. n(a,b) = n(b,a) = c, so both have sum c and
 * PPMI(a,b) = log(c S / (c c^p)) = log 2 when S = 2 c^p; the vectors are orthonormal. More columns than rank stay
 * zero. */
static void test_smallest(void **state) {
    (void)state;
    const char *text[] = {"a b", "a b", "a b", "a b"};
    size_t size[] = {3, 3, 3, 3};
    fv_vectors_options o = small();
    fv_vectors *v;
    assert_int_equal(fv_vectors_train(&v, (fv_texts){4, text, size}, &o), FV_OK);
    assert_int_equal(v->count, 2);
    double dot = 0;
    for (int64_t j = 0; j < 8; j++) {
        dot += (double)v->data[j] * v->data[8 + j];
        if (j >= 2) assert_true(v->data[j] == 0 && v->data[8 + j] == 0);
    }
    assert_true(fabs(dot) < 1e-5);
    fv_vectors_free(v);
    assert_int_equal(fv_vectors_train(&v, (fv_texts){1, text, size}, &o), FV_BAD_DATA);
    assert_string_equal(fv_message(),
                        "word vectors: words that occur at least 4 times\n  expected at least 2\n  found:   0\n  try:  "
                        "   more text, or a smaller "
                        "--vector-min-count");
    o.window = 0;
    assert_int_equal(fv_vectors_train(&v, (fv_texts){4, text, size}, &o), FV_USAGE);
}

/* ---- files */

static void test_save_and_load(void **state) {
    (void)state;
    fv_vectors_options o = small();
    fv_vectors *v, *u;
    assert_int_equal(fv_vectors_train(&v, make_corpus(&texts), &o), FV_OK);
    const char *path = scratch_path("v.safetensors");
    assert_int_equal(fv_vectors_save(v, path), FV_OK);
    if (fv_vectors_load(&u, path) != FV_OK) fail_msg("%s", fv_message());
    assert_int_equal(u->count, v->count);
    assert_int_equal(u->dim, v->dim);
    assert_memory_equal(u->data, v->data, (size_t)(v->count * v->dim) * sizeof(float));
    for (int64_t i = 0; i < v->count; i++) assert_string_equal(u->word[i], v->word[i]);
    fv_vectors_free(u);
    char text[] = "one\ntwo\n";
    fv_named_tensor both[2] = {{"vectors", fv_tensor_2d((void *)(uintptr_t)v->data, FV_F32, v->count, v->dim)},
                               {"words", fv_tensor_1d(text, FV_U8, 8)}};
    assert_int_equal(fv_safetensors_write(path, both, 2, NULL), FV_OK);
    assert_int_equal(fv_vectors_load(&u, path), FV_BAD_DATA);
    assert_non_null(
        strstr(fv_message(), "does not fit its list of words\n  expected 2 rows\n  found:   rank 2 with 60"));
    both[1].tensor = fv_tensor_1d(text, FV_F64, 1);
    assert_int_equal(fv_safetensors_write(path, both, 2, NULL), FV_OK);
    assert_int_equal(fv_vectors_load(&u, path), FV_BAD_DATA);
    assert_non_null(strstr(fv_message(), "tensor \"words\"\n  expected u8 and one axis"));
    fv_vectors_free(v);
    drop_corpus(&texts);
}

/* Files of before: the words beside the vectors. */
static void test_words_beside(void **state) {
    (void)state;
    float values[4] = {1, 0, 0, 1};
    fv_named_tensor one = {"vectors", fv_tensor_2d(values, FV_F32, 2, 2)};
    fv_vectors *v;
    const char *path = scratch_path("old.safetensors");
    assert_int_equal(fv_safetensors_write(path, &one, 1, NULL), FV_OK);
    assert_int_equal(fv_vectors_load(&v, path), FV_BAD_DATA); /* no words at all */
    assert_int_equal(fv__write_file(scratch_path("old.safetensors.vocab.txt"), "one\ntwo\n", 8), FV_OK);
    assert_int_equal(fv_vectors_load(&v, path), FV_OK);
    assert_string_equal(v->word[1], "two");
    fv_vectors_free(v);
}

/* Whatever call fails while they are replaced, the file is the old vectors with the old words, or the new with the
 * new. */
static void test_save_that_fails(void **state) {
    (void)state;
    float old_values[2] = {1, 2}, new_values[2] = {3, 4};
    const char *const old_words[] = {"left", "right"}, *const new_words[] = {"up", "down"};
    fv_vectors old = {.count = 2, .dim = 1, .word = old_words, .data = old_values},
               new = {.count = 2, .dim = 1, .word = new_words, .data = new_values}, *v;
    const char *path = scratch_path("w.safetensors");
    bool failed = true;
    for (int64_t n = 1; failed && n < 50; n++) {
        assert_int_equal(fv_vectors_save(&old, path), FV_OK);
        fv__inject(FV_FAULT_FILE, n, true);
        failed = fv_vectors_save(&new, path) != FV_OK;
        fv__inject(FV_FAULT_FILE, 0, false);
        assert_int_equal(fv_vectors_load(&v, path), FV_OK);
        bool is_old = v->data[0] == 1;
        assert_string_equal(v->word[0], is_old ? "left" : "up");
        fv_vectors_free(v);
    }
    assert_false(failed);
}

static void test_text_formats(void **state) {
    (void)state;
    static const char *const good[] = {"2 3\nthe 1 2 3\ncat -1 0.5 1e2\n", "the 1 2 3\ncat -1 0.5 1e2",
                                       "2 3\r\nthe 1 2 3 \r\ncat -1 0.5 1e2 \r\n",
                                       "3 3\nthe 1 2 3\ncat -1 0.5 1e2\nthe 9 9 9\n"};
    static const float expected[] = {1, 2, 3, -1, 0.5, 100};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        fv_vectors *v;
        if (fv_vectors_load(&v, scratch_file("w.vec", good[i], strlen(good[i]))) != FV_OK) fail_msg("%s", fv_message());
        assert_int_equal(v->count, 2);
        assert_int_equal(v->dim, 3);
        assert_string_equal(v->word[1], "cat");
        assert_memory_equal(v->data, expected, sizeof expected);
        fv_vectors_free(v);
    }
}

static char said[512];
static void hear(void *context, fv_log_level level, const char *line) {
    (void)context;
    if (level == FV_LOG_WARN) snprintf(said, sizeof said, "%s", line);
}

/* Words of GloVe's largest file have blanks in them: the numbers are the last fields. And the head of a large file
 * keeps the count of all of it. */
static void test_words_with_blanks(void **state) {
    (void)state;
    static const char *const good[] = {"mail 0.1 0.2 0.3\n. . . 0.5 0.5 0.5\nat name@example.com 1 2 3\n",
                                       "100 3\nmail 0.1 0.2 0.3\n. . .  0.5 0.5\t0.5 \r\nat name@example.com 1 2 3"};
    for (int i = 0; i < 2; i++) {
        fv_vectors *v;
        said[0] = 0;
        fv_set_log(hear, NULL);
        if (fv_vectors_load(&v, scratch_file("g.txt", good[i], strlen(good[i]))) != FV_OK) fail_msg("%s", fv_message());
        fv_set_log(NULL, NULL);
        assert_int_equal(v->count, 3);
        assert_string_equal(v->word[1], ". . .");
        assert_string_equal(v->word[2], "at name@example.com");
        assert_true(v->data[0] == 0.1f && v->data[5] == 0.5f && v->data[8] == 3);
        assert_int_equal(strstr(said, "announces 100 words, but there are 3: was the file cut short?") != NULL, i);
        fv_vectors_free(v);
    }
}

static void test_bad_text_files(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "vectors\n  expected a word and its numbers on a line\n  found:   none"},
        {"2 3\n", "vectors\n  expected a word and its numbers on a line\n  found:   none"},
        {"word\n", "1: the first line\n  expected a word and its numbers, or \"COUNT WIDTH\"\n  found:   neither"},
        {"1 3\nthe 1 2\n", "2: expected a word and 3 numbers\n  found:   2 numbers"},
        {"1 3\nthe 1 2 3 4\n", "2: expected a word and 3 numbers\n  found:   4 numbers"},
        {"1 3\nthe 1 x 3\n", "2: expected a word and 3 numbers\n  found:   something that is not a number"},
        {"1 3\nthe 1 nan 3\n", "2: expected a word and 3 numbers\n  found:   something that is not a number"},
        {"1 3\nthe cat x 1 2\n", "2: expected a word and 3 numbers\n  found:   something that is not a number"},
        {"1 3\n\n", "2: expected a word and 3 numbers\n  found:   0 numbers"},
        {"1 3\nth\xE9 1 2 3\n",
         "not a file of vectors\n  expected safetensors, or the text format of word2vec or fastText (.vec)\n"
         "  found:   bytes that are no text in UTF-8\n"
         "  try:     convert a binary file with the program that wrote it"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fv_vectors *v;
        const char *path = scratch_file("bad.vec", bad[i].text, strlen(bad[i].text));
        assert_int_equal(fv_vectors_load(&v, path), FV_BAD_DATA);
        const char *message = fv_message() + strlen(path) + 1;
        assert_string_equal(message + (*message == ' '), bad[i].message);
    }
}

static void test_fill(void **state) {
    (void)state;
    const char text[] = "2 2\ncat 1 2\ndog 3 4\n", *sentence = "Cat dog Dog bird bird";
    size_t size = strlen(sentence);
    fv_tokenizer_options o;
    fv_vectors *v;
    fv_tokenizer *t;
    fv_options_init(fv_tokenizer_option_rows(), &o);
    o.lowercase = false;
    o.min_count = 1;
    assert_int_equal(fv_vectors_load(&v, scratch_file("f.vec", text, strlen(text))), FV_OK);
    assert_int_equal(fv_tokenizer_train(&t, (fv_texts){1, &sentence, &size}, &o), FV_OK);
    float table[7 * 2];
    for (int i = 0; i < 14; i++) table[i] = -1;
    assert_int_equal(fv_tokenizer_size(t), 7);
    assert_int_equal(fv_vectors_fill(v, t, table), 3); /* Cat and Dog by their lower case */
    int32_t dog = fv_tokenizer_id(t, "Dog"), bird = fv_tokenizer_id(t, "bird");
    assert_true(table[dog * 2] == 3 && table[dog * 2 + 1] == 4);
    assert_true(table[bird * 2] == -1 && table[0] == -1);
    fv_tokenizer_free(t);
    fv_vectors_free(v);
}

static void test_no_memory(void **state) {
    (void)state;
    const char *text[] = {"a b c d a b", "a b c d", "d c b a", "b a d c"};
    size_t size[] = {11, 7, 7, 7};
    fv_vectors_options o = small();
    bool done = false;
    for (int n = 1; n < 1000 && !done; n++) {
        fv_vectors *v = NULL, *u = NULL;
        fv__inject(FV_FAULT_ALLOC, n, false);
        fv_status status = fv_vectors_train(&v, (fv_texts){4, text, size}, &o);
        done = status == FV_OK;
        fv__inject(FV_FAULT_ALLOC, 0, false);
        assert_true(done || status == FV_NO_RESOURCES);
        fv_vectors_free(v);
        fv_vectors_free(u);
    }
    assert_true(done);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_neighbours),     cmocka_unit_test(test_any_number_of_threads),
        cmocka_unit_test(test_smallest),       cmocka_unit_test(test_save_and_load),
        cmocka_unit_test(test_words_beside),   cmocka_unit_test(test_save_that_fails),
        cmocka_unit_test(test_text_formats),   cmocka_unit_test(test_words_with_blanks),
        cmocka_unit_test(test_bad_text_files), cmocka_unit_test(test_fill),
        cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
