/* rollout: heads averaged, and layers multiplied through.
 *
 * Attention rollout (Abnar and Zuidema 2020, arXiv 2005.00928): a residual connection passes a token on beside what it
 * attends to, so a layer mixes by (A + I) / row sum; the product over layers tells which inputs an output is made of.
 * Forgetting the identity is the well-known mistake. */
#include "explain/explain.h"

#include <stdio.h>
#include <string.h>

/* One product: to = scale_rows(layer + I) * from, a row at a time. */
typedef struct product {
    float *to;
    const float *layer, *from;
    double *scratch;
    int64_t n;
} product;

static void product_row(void *context, int64_t i, int worker) {
    const product *p = context;
    int64_t n = p->n;
    double *sum = p->scratch + worker * n, total = 1;
    const float *a = p->layer + i * n;
    memset(sum, 0, (size_t)n * sizeof *sum);
    for (int64_t k = 0; k < n; k++) total += a[k];
    for (int64_t k = 0; k < n; k++) {
        double share = (a[k] + (k == i)) / total;
        if (share == 0) continue;
        const float *from = p->from + k * n;
        for (int64_t j = 0; j < n; j++) sum[j] += share * from[j];
    }
    for (int64_t j = 0; j < n; j++) p->to[i * n + j] = (float)sum[j];
}

fv_status fv_attention_rollout(float *out, const float *layer, int64_t layers, int64_t n) {
    size_t bytes, scratch;
    if (layers < 0 || n < 0 || !fv__size_of((int64_t[]){n, n}, 2, sizeof *out, &bytes) ||
        !fv__size_of((int64_t[]){fv_threads(), n}, 2, sizeof(double), &scratch))
        return fv__fail(FV_USAGE,
                        "fv_attention_rollout: layers and tokens\n  expected 0 or more, in memory's reach\n  found:   "
                        "%lld and %lld",
                        (long long)layers, (long long)n);
    float *from = fv__alloc(bytes);
    double *sums = fv__alloc(scratch);
    fv_status status = from && sums ? FV_OK : FV_NO_RESOURCES;
    if (status == FV_OK) {
        memset(out, 0, bytes);
        for (int64_t i = 0; i < n; i++) out[i * n + i] = 1;
        for (int64_t l = 0; l < layers; l++) {
            memcpy(from, out, bytes);
            product p = {out, layer + l * n * n, from, sums, n};
            fv__parallel_for(n, product_row, &p);
        }
    }
    fv__free(from);
    fv__free(sums);
    return status;
}

static fv_status add_rollout(fv_explanation *e, int map, const float *mean, int64_t layers, int64_t n) {
    float *rollout = fv__alloc_array((size_t)n * (size_t)n, sizeof *rollout);
    if (!rollout) return FV_NO_RESOURCES;
    fv_status status = fv_attention_rollout(rollout, mean, layers, n);
    if (status == FV_OK) status = fv_explanation_add_head(e, map, -1, -1, "rollout", "Rollout", rollout);
    fv__free(rollout);
    return status;
}

fv_status fv__add_combinations(fv_explanation *e, int map, const float *mean, const int32_t *number, int64_t layers,
                               bool several_heads, bool residual) {
    const fv_explain_map *m = &e->map[map];
    int64_t queries = e->sequence[m->query].count, keys = e->sequence[m->key].count;
    bool rollout = residual && m->normalised && m->query == m->key;
    for (int64_t l = 0; several_heads && l < layers; l++) {
        char caption[40];
        snprintf(caption, sizeof caption, "Mean of layer %d", number[l]);
        FV_TRY(fv_explanation_add_head(e, map, number[l], -1, "mean", caption, mean + l * queries * keys));
    }
    return rollout ? add_rollout(e, map, mean, layers, queries) : FV_OK;
}

/* Sums the heads of each layer into `mean` and divides. Returns whether some layer has more than one head. */
static bool average(float *mean, const int32_t *number, int64_t layers, const fv_explain_map *map, int64_t size) {
    bool several = false;
    for (int64_t l = 0; l < layers; l++) {
        float *to = mean + l * size;
        int64_t heads = 0;
        for (int64_t h = 0; h < map->heads; h++) {
            if (map->head[h].id || map->head[h].layer != number[l]) continue;
            heads++;
            for (int64_t i = 0; i < size; i++) to[i] += map->head[h].weight[i];
        }
        for (int64_t i = 0; i < size; i++) to[i] /= (float)heads;
        several |= heads > 1;
    }
    return several;
}

fv_status fv_explanation_combine(fv_explanation *e, int map) {
    FV_TRY(fv__check_map(e, map, "fv_explanation_combine"));
    const fv_explain_map *m = &e->map[map];
    int64_t size = e->sequence[m->query].count * e->sequence[m->key].count, layers = 0;
    int32_t *number = fv__alloc_array((size_t)m->heads + 1, sizeof *number);
    if (!number) return FV_NO_RESOURCES;
    for (int64_t h = 0; h < m->heads; h++) {
        int64_t l = 0;
        while (l < layers && number[l] != m->head[h].layer) l++;
        if (l == layers && !m->head[h].id) number[layers++] = m->head[h].layer;
    }
    float *mean = fv__alloc_array((size_t)layers * (size_t)size, sizeof *mean);
    fv_status status = mean ? FV_OK : FV_NO_RESOURCES;
    if (mean && layers > 0) {
        bool several = average(mean, number, layers, m, size);
        status = fv__add_combinations(e, map, mean, number, layers, several, true);
    }
    fv__free(mean);
    fv__free(number);
    return status;
}
