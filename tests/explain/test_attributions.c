/* Explanations of models trained on a toy: maps, attributions whose sums are known, choices, and texts that are hard
 * to read. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "explain/explain.h"
#include "fovea/train.h"
#include "support/toy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BAYES, LINEAR, BAG, TEXTBOOK, POOLED, CLS, KINDS };
static fv_model *models[KINDS];

static fv_model *trained(const char *kind, const char *const *settings) {
    static fv_dataset *data;
    fv_train_setup how;
    fv_model *model = NULL;
    if (!data) assert_int_equal(toy_data(&data, 160, 1), FV_OK);
    assert_int_equal(fv_train_setup_init(&how, kind), FV_OK);
    for (; settings && *settings; settings += 2)
        if (fv_train_setup_set(&how, settings[0], settings[1]) != FV_OK) fail_msg("%s", fv_message());
    if (fv_train(&model, NULL, data, NULL, &how) != FV_OK) fail_msg("%s", fv_message());
    return model;
}

static int train_all(void **state) {
    (void)state;
    models[BAYES] = trained("bayes", NULL);
    models[LINEAR] = trained("linear", NULL);
    models[BAG] = trained("bag", (const char *const[]){"width", "16", "epochs", "20", "batch-size", "16", NULL});
    models[TEXTBOOK] = trained(
        "attention", (const char *const[]){"width", "16", "heads", "2", "epochs", "20", "batch-size", "16", NULL});
    models[POOLED] = trained("transformer", (const char *const[]){"width", "16", "heads", "4", "layers", "2", "epochs",
                                                                  "3", "pool", "attention", "max-length", "24", NULL});
    models[CLS] =
        trained("transformer", (const char *const[]){"width", "16", "heads", "2", "layers", "1", "epochs", "2", "pool",
                                                     "cls", "attention", "window:left=2,right=2", NULL});
    return 0;
}

static int free_all(void **state) {
    (void)state;
    for (int k = 0; k < KINDS; k++) fv_model_free(models[k]);
    return 0;
}

static fv_explanation *explained(const fv_model *model, const char *text, const char *heads) {
    fv_explain_options o;
    fv_explanation *e = NULL;
    fv_options_init(fv_explain_option_rows(), &o);
    o.heads = heads;
    if (fv_explain(&e, model, text, strlen(text), &o) != FV_OK) fail_msg("%s", fv_message());
    return e;
}

static const fv_attribution *attribution(const fv_explanation *e, const char *id, int32_t of_class) {
    for (int a = 0; a < e->attributions; a++)
        if (!strcmp(e->attribution[a].id, id) && (of_class < 0 || e->attribution[a].of_class == of_class))
            return &e->attribution[a];
    return NULL;
}

static double total(const fv_explanation *e, const fv_attribution *a) {
    double sum = 0;
    for (int64_t i = 0; i < e->sequence[a->sequence].count; i++) sum += a->value[i];
    return sum;
}

static void every_kind_is_explained(void **state) {
    (void)state;
    const char *text = "great word7 poor word9 love";
    const size_t size = strlen(text);
    for (int k = 0; k < KINDS; k++) {
        fv_explanation *e = explained(models[k], text, NULL);
        float p[2];
        assert_int_equal(fv_model_predict(models[k], (fv_texts){1, &text, &size}, p), FV_OK);
        assert_int_equal(e->classes, 2);
        assert_int_equal(e->predicted, p[1] > p[0]);
        for (int c = 0; c < 2; c++) assert_true(fabs(e->class_of[c].probability - (double)p[c]) < 1e-6);
        const char *id = k == BAYES || k == LINEAR ? "contribution" : "input-gradient";
        for (int32_t c = 0; c < 2; c++) assert_non_null(attribution(e, id, c));
        assert_int_equal(e->maps > 0, k >= TEXTBOOK);
        assert_int_equal(attribution(e, "gradient-attention", 0) != NULL, k >= TEXTBOOK);
        fv_explanation_free(e);
    }
}

/* Two classes' sums differ as their scores do, but for a constant of the model, the biases. */
static void check_sums(const fv_model *model, const char *id) {
    static const char *const texts[3] = {"great love word7", "bad word9 word9 sad hate", "word12 good"};
    double rest[3], size = 0;
    for (int t = 0; t < 3; t++) {
        fv_explanation *e = explained(model, texts[t], NULL);
        double difference = total(e, attribution(e, id, 0)) - total(e, attribution(e, id, 1));
        rest[t] = e->class_of[0].logit - e->class_of[1].logit - difference;
        size += fabs(difference);
        fv_explanation_free(e);
    }
    assert_true(size > 0.1);
    assert_true(fabs(rest[0] - rest[1]) < 1e-4 * size && fabs(rest[0] - rest[2]) < 1e-4 * size);
}

/* Where the score is a sum over words. */
static void contributions_add_up(void **state) {
    (void)state;
    check_sums(models[BAYES], "contribution");
    check_sums(models[LINEAR], "contribution");
    check_sums(models[BAG], "input-gradient");
}

/* The textbook model is linear in its attention weights once the values are fixed: gradient times attention adds up
 * to the score but for the biases. This holds for the weights and their gradients together, so it checks both. */
static void gradient_times_attention_adds_up(void **state) {
    (void)state;
    check_sums(models[TEXTBOOK], "gradient-attention");
}

/* Words of the class that the toy gives away count for it. */
static void telling_words_tell(void **state) {
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        fv_explanation *e = explained(models[k], "word7 great word9", NULL);
        if (k == POOLED || k == CLS) { /* trained for a moment only */
            fv_explanation_free(e);
            continue;
        }
        int32_t yes = !strcmp(e->class_of[1].name, "yes");
        const fv_attribution *a = attribution(e, k < BAG ? "contribution" : "input-gradient", yes);
        assert_true(a->value[1] > a->value[0] && a->value[1] > a->value[2] && a->value[1] > 0);
        fv_explanation_free(e);
    }
}

static void maps_are_attention(void **state) {
    (void)state;
    fv_explanation *e = explained(models[POOLED], "great word7 poor word9 love", NULL);
    const fv_explain_map *self = &e->map[0], *pool = &e->map[1];
    int64_t n = e->sequence[0].count;
    assert_int_equal(e->maps, 2);
    assert_string_equal(pool->id, "pool");
    assert_int_equal(self->heads, 2 * 4 + 2 + 1);
    assert_true(self->normalised);
    double sum = 0;
    for (int64_t j = 0; j < n; j++) sum += pool->head[0].weight[j];
    assert_true(fabs(sum - 1) < 1e-5);
    for (int64_t h = 0; h < self->heads; h++)
        for (int64_t i = 0; i < n; i++) {
            sum = 0;
            for (int64_t j = 0; j < n; j++) sum += self->head[h].weight[i * n + j];
            assert_true(fabs(sum - 1) < 1e-5);
        }
    int map;
    int64_t head;
    assert_int_equal(fv_explanation_find(e, "pool", &map, &head), FV_OK);
    assert_int_equal(map, 1);
    /* what the pooled output sees: pooling times rollout, by hand */
    const fv_attribution *a = attribution(e, "attention", -1);
    const float *rollout = self->head[self->heads - 1].weight;
    for (int64_t j = 0; j < n; j++) {
        sum = 0;
        for (int64_t i = 0; i < n; i++) sum += pool->head[0].weight[i] * rollout[i * n + j];
        assert_true(fabs(sum - a->value[j]) < 1e-6);
    }
    fv_explanation_free(e);
}

/* No residual connection: what the class sees is the attention itself, without the identity. */
static void the_textbook_model_has_no_rollout(void **state) {
    (void)state;
    fv_explanation *e = explained(models[TEXTBOOK], "great word7 poor", NULL);
    assert_int_equal(e->map[0].heads, 2 + 1);
    const float *mean = e->map[0].head[2].weight;
    const fv_attribution *a = attribution(e, "attention", -1);
    for (int j = 0; j < 3; j++) assert_true(fabs((mean[j] + mean[3 + j] + mean[6 + j]) / 3 - a->value[j]) < 1e-6);
    fv_explanation_free(e);
}

static void windows_are_seen(void **state) {
    (void)state;
    fv_explanation *e = explained(models[CLS], "great word7 poor word9 love", NULL);
    int64_t n = e->sequence[0].count;
    assert_int_equal(n, 6);
    assert_true(e->sequence[0].token[0].special);
    assert_string_equal(e->sequence[0].token[0].piece, "[CLS]");
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) assert_int_equal(e->map[0].head[0].weight[i * n + j] > 0, llabs(i - j) <= 2);
    fv_explanation_free(e);
}

/* Every mechanism a transformer takes is explained; maps are there when it forms weights, and gradients in any case. */
static void other_mechanisms_are_explained(void **state) {
    (void)state;
    int explained_ones = 0;
    fv_dataset *data;
    assert_int_equal(toy_data(&data, 40, 1), FV_OK);
    for (size_t i = 0; i < fv_mechanism_count(); i++) {
        const fv_mechanism *m = fv_mechanism_at(i);
        fv_train_setup how;
        fv_model *model;
        assert_int_equal(fv_train_setup_init(&how, "transformer"), FV_OK);
        how.model.d_model = 8, how.model.heads = 2, how.model.layers = 1, how.train.epochs = 1;
        how.model.mechanism = m->name;
        if (fv_train(&model, NULL, data, NULL, &how) != FV_OK) continue; /* needs what a text does not give */
        fv_explanation *e = explained(model, "great word7 poor", NULL);
        bool weights = m->can & FV_CAN_WEIGHTS;
        assert_int_equal(attribution(e, "gradient-attention", 0) != NULL, weights);
        assert_non_null(attribution(e, "input-gradient", 0));
        if (!weights) assert_true(e->notes > 2);
        fv_explanation_free(e);
        fv_model_free(model);
        explained_ones++;
    }
    assert_true(explained_ones >= 2);
    fv_dataset_free(data);
}

static void a_choice_of_heads_keeps_the_rollout(void **state) {
    (void)state;
    fv_explanation *all = explained(models[POOLED], "great word7 poor", NULL),
                   *few = explained(models[POOLED], "great word7 poor", "1:2-3");
    assert_int_equal(few->map[0].heads, 2 + 2 + 1);
    assert_int_equal(few->map[0].head[1].head, 3);
    assert_memory_equal(few->map[0].head[1].weight, all->map[0].head[7].weight, 9 * sizeof(float));
    assert_memory_equal(few->map[0].head[4].weight, all->map[0].head[10].weight, 9 * sizeof(float));
    fv_explanation_free(all);
    fv_explanation_free(few);
    fv_explain_options o = {NULL, "7", true};
    assert_int_equal(fv_explain(&all, models[POOLED], "a", 1, &o), FV_USAGE);
    assert_non_null(strstr(fv_message(), "layers below 2, heads below 4"));
}

static void another_class_can_be_asked(void **state) {
    (void)state;
    fv_explanation *e = explained(models[LINEAR], "great love", NULL);
    const char *other = e->class_of[1 - e->predicted].name;
    fv_explain_options o = {other, NULL, true};
    fv_explanation *against;
    assert_int_equal(fv_explain(&against, models[LINEAR], "great love", 10, &o), FV_OK);
    assert_string_equal(against->class_of[against->attribution[0].of_class].name, other);
    fv_explanation_free(against);
    fv_explanation_free(e);
    o.of_class = "maybe";
    assert_int_equal(fv_explain(&e, models[LINEAR], "great", 5, &o), FV_USAGE);
    assert_null(e);
    assert_non_null(strstr(fv_message(), "no, yes"));
    o = (fv_explain_options){NULL, NULL, false};
    assert_int_equal(fv_explain(&e, models[POOLED], "great", 5, &o), FV_OK);
    assert_int_equal(e->attributions, 1);
    fv_explanation_free(e);
}

static fv_status count_bytes(void *context, const void *bytes, size_t count) {
    fv__buf_add(context, bytes, count);
    return FV_OK;
}

/* Empty, blank, unknown, invalid, too long, hostile: an explanation and all pictures, or a refusal; never more. */
static void hard_texts_are_survived(void **state) {
    (void)state;
    static char longer[2000];
    for (int i = 0; i < 1990; i++) longer[i] = i % 5 == 4 ? ' ' : 'a';
    const char *const texts[] = {"",
                                 "   ",
                                 "zzz qqq",
                                 "\xFF\xFEgreat\x80",
                                 "</script><script>alert(1)</script> great",
                                 longer,
                                 "\xE6\x97\xA5\xE6\x9C\xAC great"};
    for (int k = 0; k < KINDS; k++)
        for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
            fv_explanation *e;
            fv_status status = fv_explain(&e, models[k], texts[t], strlen(texts[t]), NULL);
            if (status != FV_OK) {
                assert_int_equal(status, FV_BAD_DATA);
                continue;
            }
            for (int r = 0; fv_renderer_at(r); r++) {
                fv__buf out = {0};
                status = fv_render(e, fv_renderer_at(r)->name, NULL, count_bytes, &out);
                if (status != FV_OK)
                    fail_msg("kind %d text %d %s: %s", k, (int)t, fv_renderer_at(r)->name, fv_message());
                fv__buf_free(&out);
            }
            fv_explanation_free(e);
        }
    fv_explanation *e = explained(models[POOLED], longer, NULL);
    assert_true(e->sequence[0].truncated);
    assert_in_range(e->sequence[0].count, 20, 24);
    fv_explanation_free(e);
}

/* The model puts [CLS] in front; the one that is typed comes after it. */
static void cls_in_the_text_is_a_token_of_the_text(void **state) {
    (void)state;
    static const int at[4][2] = {{0, 0}, {0, 5}, {6, 10}, {11, 14}};
    fv_explanation *e = explained(models[CLS], "[CLS] good bad", NULL);
    const fv_explain_sequence *s = &e->sequence[0];
    assert_int_equal(s->count, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(s->token[i].start, at[i][0]);
        assert_int_equal(s->token[i].end, at[i][1]);
    }
    assert_string_equal(s->token[0].piece, "[CLS]");
    assert_string_equal(s->token[1].piece, "[CLS]");
    assert_true(s->token[0].special);
    fv_explanation_free(e);
}

static void any_number_of_threads_gives_the_same_page(void **state) {
    (void)state;
    fv__buf page[3] = {{0}};
    for (int t = 0; t < 3; t++) {
        fv_set_threads(1 << t);
        fv_explanation *e = explained(models[POOLED], "great word7 poor word9 love hate", NULL);
        assert_int_equal(fv_render(e, "html", NULL, count_bytes, &page[t]), FV_OK);
        assert_int_equal(page[t].size, page[0].size);
        assert_memory_equal(page[t].data, page[0].data, page[0].size);
        fv_explanation_free(e);
    }
    fv_set_threads(0);
    for (int t = 0; t < 3; t++) fv__buf_free(&page[t]);
}

static void running_out_of_memory_is_reported(void **state) {
    (void)state;
    const int kinds[] = {LINEAR, POOLED};
    for (int k = 0; k < 2; k++) {
        int64_t n = 1, step = 1;
        for (fv_status status = FV_FAIL; status != FV_OK; n += step, step += n > 40) {
            fv_explanation *e = NULL;
            fv__inject(FV_FAULT_ALLOC, n, false);
            status = fv_explain(&e, models[kinds[k]], "great love", 10, NULL);
            fv__inject(FV_FAULT_ALLOC, 0, false);
            if (status != FV_OK) assert_int_equal(status, FV_NO_RESOURCES);
            if (status != FV_OK) assert_null(e);
            fv_explanation_free(e);
        }
        assert_true(n > 10);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_explained),
        cmocka_unit_test(contributions_add_up),
        cmocka_unit_test(gradient_times_attention_adds_up),
        cmocka_unit_test(telling_words_tell),
        cmocka_unit_test(maps_are_attention),
        cmocka_unit_test(the_textbook_model_has_no_rollout),
        cmocka_unit_test(windows_are_seen),
        cmocka_unit_test(other_mechanisms_are_explained),
        cmocka_unit_test(a_choice_of_heads_keeps_the_rollout),
        cmocka_unit_test(another_class_can_be_asked),
        cmocka_unit_test(hard_texts_are_survived),
        cmocka_unit_test(cls_in_the_text_is_a_token_of_the_text),
        cmocka_unit_test(any_number_of_threads_gives_the_same_page),
        cmocka_unit_test(running_out_of_memory_is_reported),
    };
    return cmocka_run_group_tests_name("explain_model", tests, train_all, free_all);
}
