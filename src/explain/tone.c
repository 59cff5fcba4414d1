/* tone: see tone.h. The page's program has the same (src/explain/page/30-view.js). */
#include "explain/tone.h"

#include <math.h>

static int64_t tokens_of(const fv__tone *t, int64_t key) {
    int32_t pieces = t->key->token[key].pieces;
    return pieces > 1 ? pieces : 1;
}

double fv__tone_unit(const fv__tone *t, int64_t query) {
    int64_t seen = t->causal ? 0 : t->tokens;
    for (int64_t j = 0; t->causal && j <= query && j < t->key->count; j++) seen += tokens_of(t, j);
    return 1 / (double)seen;
}

fv__tone fv__tone_of(fv__scale scale, bool even, bool causal, const float *weight, int64_t queries,
                     const fv_explain_sequence *key) {
    fv__tone t = {.scale = scale, .even = even && key->count > 1, .causal = causal, .key = key};
    for (int64_t j = 0; j < key->count; j++) t.tokens += tokens_of(&t, j);
    for (int64_t i = t.even && causal; i < queries; i++)
        for (int64_t j = 0; j < key->count; j++)
            if (weight[i * key->count + j] > t.top) t.top = weight[i * key->count + j];
    if (t.even) t.top = fmax(t.top, fmin(1, 3 / (double)t.tokens));
    return t;
}

/* Above the even share: 0 there, 1 at the top. */
static double above(const fv__tone *t, double weight, double even) {
    double top = fmax(t->top, fmin(1, 3 * even));
    if (weight >= top) return 1;
    if (t->scale == FV_SCALE_LOG) return log(weight / even) / log(top / even);
    double x = (weight - even) / (top - even);
    return t->scale == FV_SCALE_SQRT ? sqrt(x) : x;
}

double fv__tone_shade(const fv__tone *t, double unit, int64_t key, double weight) {
    if (!t->even) return fv__shade(t->scale, weight, t->top);
    double even = unit * (double)tokens_of(t, key);
    if (weight <= even * (1 + 1e-6)) return FV_SHADE_EVEN * fv__shade(t->scale, weight, even);
    return FV_SHADE_EVEN + (1 - FV_SHADE_EVEN) * above(t, weight, even);
}

void fv__tone_even_caption(const fv__tone *t, fv__buf *out) {
    if (t->even && t->tokens != t->key->count)
        fv__buf_text(out, "even share");
    else if (t->even && t->causal)
        fv__buf_text(out, "1/keys");
    else if (t->even)
        fv__buf_printf(out, "1/%lld", (long long)t->tokens);
}
