/* Explanations to draw, and what a renderer makes of them. */
#ifndef FV_TEST_EXPLAIN_CASE_H
#define FV_TEST_EXPLAIN_CASE_H

#include "explain/render.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char hostile[] =
    "</script><script>alert(1)</script> <!-- & \"quoted\" 'q' ]]> \x1b[31mred\x07 \xE2\x80\xA8 \xE2\x80\xAE"
    "evil <svg onload=alert(2)> %s%n";

/* `tokens` words of nine letters ("w00000017 "), two layers of four heads with different habits. */
static inline fv_explanation *many_words(int64_t tokens, int32_t layers, int32_t heads) {
    fv_explanation *e;
    fv__buf text = {0};
    fv_explain_token *token = calloc((size_t)tokens, sizeof *token);
    float *w = calloc((size_t)(tokens * tokens), sizeof *w), *a = calloc((size_t)tokens, sizeof *a);
    for (int64_t i = 0; i < tokens; i++) {
        token[i] = (fv_explain_token){"piece", 10 * i, 10 * i + 9, (int32_t)(i / 2 * 2 + i % 2), false};
        fv__buf_printf(&text, "w%08d ", (int)i);
        a[i] = (float)(i % 7 - 3);
    }
    assert_int_equal(fv_explanation_create(&e, "many", "model"), FV_OK);
    assert_int_equal(fv_explanation_add_class(e, "games", .9, 2), FV_OK);
    assert_int_equal(fv_explanation_add_class(e, "net", .1, 0), FV_OK);
    assert_int_equal(fv_explanation_add_sequence(e, "input", text.data, text.size, token, tokens, NULL), FV_OK);
    assert_int_equal(fv_explanation_add_map(e, "self", "Self-attention", 0, 0, true, false, NULL), FV_OK);
    for (int32_t n = 0; n < layers * heads; n++) {
        for (int64_t i = 0; i < tokens; i++) {
            double sum = 0;
            for (int64_t j = 0; j < tokens; j++) {
                double x =
                    fv__random_normal(5, (uint64_t)n, (uint64_t)(i * tokens + j)) + (n % 2 && j == i - 1 ? 8 : 0);
                sum += w[i * tokens + j] = (float)exp(x);
            }
            for (int64_t j = 0; j < tokens; j++) w[i * tokens + j] /= (float)sum;
        }
        assert_int_equal(fv_explanation_add_head(e, 0, n / heads, n % heads, NULL, NULL, w), FV_OK);
    }
    assert_int_equal(fv_explanation_combine(e, 0), FV_OK);
    assert_int_equal(fv_explanation_add_attribution(e, "attention", "Attention", "", 0, -1, false, w), FV_OK);
    assert_int_equal(fv_explanation_add_attribution(e, "gradient-attention", "Gradient x attention", "", 0, 0, true, a),
                     FV_OK);
    fv__buf_free(&text);
    free(token);
    free(w);
    free(a);
    return e;
}

/* Every text in it is hostile, the tokens are whole and cut pieces of it. */
static inline fv_explanation *all_hostile(void) {
    fv_explanation *e;
    const size_t size = sizeof hostile - 1;
    const fv_explain_token token[3] = {
        {hostile, 0, 0, -1, true}, {hostile, 0, 30, 0, false}, {hostile, 30, (int64_t)size, 1, false}};
    const float w[9] = {.5f, .25f, .25f, 0, 1, 0, .1f, .2f, .7f}, a[3] = {.2f, .3f, .5f};
    assert_int_equal(fv_explanation_create(&e, hostile, hostile), FV_OK);
    e->kind = fv__explain_text(e, hostile, size);
    e->mechanism = e->kind;
    assert_int_equal(fv_explanation_add_note(e, hostile, hostile), FV_OK);
    assert_int_equal(fv_explanation_add_class(e, hostile, .7, 1), FV_OK);
    assert_int_equal(fv_explanation_add_class(e, "net", .3, 1), FV_OK);
    assert_int_equal(fv_explanation_add_sequence(e, hostile, hostile, size, token, 3, NULL), FV_OK);
    assert_int_equal(fv_explanation_add_map(e, "self", hostile, 0, 0, true, false, NULL), FV_OK);
    assert_int_equal(fv_explanation_add_head(e, 0, 0, 0, NULL, NULL, w), FV_OK);
    assert_int_equal(fv_explanation_add_head(e, 0, 0, 1, "mean", hostile, w), FV_OK);
    assert_int_equal(fv_explanation_add_attribution(e, "attention", hostile, hostile, 0, 0, true, a), FV_OK);
    assert_int_equal(fv_explanation_add_attribution(e, "gradient-attention", hostile, hostile, 0, -1, true, a), FV_OK);
    return e;
}

static inline fv_status collect(void *context, const void *bytes, size_t count) {
    fv__buf_add(context, bytes, count);
    return FV_OK;
}

/* `settings` is name, value, ..., NULL. */
static inline fv__buf rendered(const fv_explanation *e, const char *renderer, const char *const *settings) {
    fv_render_options o;
    fv__buf out = {0};
    fv_options_init(fv_render_option_rows(), &o);
    for (; settings && *settings; settings += 2)
        assert_int_equal(fv_options_set(fv_render_option_rows(), &o, settings[0], settings[1]), FV_OK);
    assert_int_equal(fv_render(e, renderer, &o, collect, &out), FV_OK);
    assert_false(out.failed);
    assert_true(out.size > 0);
    return out;
}
#define SET(...) ((const char *const[]){__VA_ARGS__, NULL})

#endif
