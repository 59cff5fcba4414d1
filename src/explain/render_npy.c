/* npy: the numbers themselves, for people who draw on their own: float32 of shape (layers, heads, queries, keys), or
 * (heads, queries, keys) when the layers do not have the same heads; without attention the attributions, (kinds,
 * tokens). */
#include "explain/render.h"

#include <string.h>

/* Format 1.0 of NumPy (numpy.lib.format): header padded so that the numbers begin at a multiple of 64. */
static fv_status add_header(fv__sink *sink, const int64_t *dim, int rank) {
    fv__buf h = {0};
    fv__buf_add(&h, "\x93NUMPY\1\0\0\0", 10);
    fv__buf_text(&h, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (int i = 0; i < rank; i++) fv__buf_printf(&h, "%s%lld", i ? ", " : "", (long long)dim[i]);
    fv__buf_text(&h, "), }");
    while (h.size % 64 != 63 && !h.failed) fv__buf_text(&h, " ");
    fv__buf_text(&h, "\n");
    if (!h.failed) {
        h.data[8] = (char)((h.size - 10) & 255);
        h.data[9] = (char)((h.size - 10) >> 8);
        fv__sink_buf(sink, &h);
    }
    fv_status status = fv__buf_status(&h);
    fv__buf_free(&h);
    return status;
}

/* Heads of the model come layer by layer; true when each layer has the same number. */
static bool count_heads(const fv_explain_map *map, int64_t *layers, int64_t *all) {
    int64_t n = 0, in_first = 0;
    *layers = 0;
    for (int64_t h = 0; h < map->heads; h++) {
        if (map->head[h].id) continue;
        if (n == 0 || map->head[h].layer != map->head[h - 1].layer) ++*layers;
        in_first += *layers == 1;
        n++;
    }
    *all = n;
    for (int64_t h = 0; h < n; h++)
        if (map->head[h].layer != map->head[h / in_first * in_first].layer) return false;
    return n > 0 && n == *layers * in_first;
}

static fv_status write_attributions(const fv_explanation *e, fv__sink *sink) {
    if (e->attributions == 0)
        return fv__fail(
            FV_USAGE,
            "explain: there is nothing to write\n  expected attention maps or attributions\n  found:   neither");
    const fv_explain_sequence *s = &e->sequence[e->attribution[0].sequence];
    int64_t rows = 0;
    for (int a = 0; a < e->attributions; a++) rows += e->attribution[a].sequence == e->attribution[0].sequence;
    FV_TRY(add_header(sink, (int64_t[]){rows, s->count}, 2));
    for (int a = 0; a < e->attributions; a++)
        if (e->attribution[a].sequence == e->attribution[0].sequence)
            fv__sink_add(sink, e->attribution[a].value, (size_t)s->count * sizeof(float));
    return FV_OK;
}

static fv_status draw(const fv_explanation *e, const fv_render_options *options, fv__sink *sink) {
    int map = 0;
    int64_t head, layers, all;
    if (e->maps == 0) return write_attributions(e, sink);
    if (options->matrix) FV_TRY(fv_explanation_find(e, options->matrix, &map, &head));
    const fv_explain_map *m = &e->map[map];
    int64_t queries = e->sequence[m->query].count, keys = e->sequence[m->key].count;
    bool even = count_heads(m, &layers, &all);
    bool combined = all == 0; /* pooling is a combination of its own */
    if (combined) all = m->heads;
    int64_t shape[4] = {layers, even ? all / layers : 0, queries, keys}, flat[3] = {all, queries, keys};
    FV_TRY(add_header(sink, even ? shape : flat, even ? 4 : 3));
    for (int64_t h = 0; h < m->heads; h++)
        if (combined || !m->head[h].id) fv__sink_add(sink, m->head[h].weight, (size_t)(queries * keys) * sizeof(float));
    return FV_OK;
}

const fv__renderer fv__renderer_npy = {
    {"npy", ".npy", "all maps as float32 numbers (layers, heads, queries, keys)"}, false, draw};
