/* Tables: embeddings and bags of them. An embedding is a bag of one. */
#include "grad/graph.h"

#include "simd/simd.h"

#include <string.h>

enum { BUCKETS = 8 }; /* of table rows in backward: each is filled by one thread in the order of the batch */

typedef struct lookup {
    fv_dtype dtype;
    size_t size;
    int64_t width, bags;
    const int32_t *ids;
    const int64_t *offsets; /* NULL: bag n is ids[n] alone */
    fv_bag kind;
    const void *table, *dy;
    void *y, *dtable;
} lookup;

static void bag_range(const lookup *c, int64_t bag, int64_t *start, int64_t *end) {
    *start = c->offsets ? c->offsets[bag] : bag;
    *end = c->offsets ? c->offsets[bag + 1] : bag + 1;
}

static double bag_scale(const lookup *c, int64_t count) {
    return c->kind == FV_BAG_MEAN && count > 1 ? 1.0 / (double)count : 1;
}

static void gather(void *context, int64_t first, int64_t count) {
    const lookup *c = context;
    for (int64_t bag = first; bag < first + count; bag++) {
        int64_t start, end;
        bag_range(c, bag, &start, &end);
        void *y = fv__at(c->y, bag * c->width, c->size);
        if (end == start) {
            memset(y, 0, (size_t)c->width * c->size);
            continue;
        }
        memcpy(y, fv__at(c->table, c->ids[start] * c->width, c->size), (size_t)c->width * c->size);
        for (int64_t i = start + 1; i < end; i++)
            FV__CALL(c->dtype, axpy, y, 1, fv__at(c->table, c->ids[i] * c->width, c->size), c->width);
        double scale = bag_scale(c, end - start);
        if (scale != 1) FV__CALL(c->dtype, scale, y, scale, y, c->width);
    }
}

static void scatter(void *context, int64_t first, int64_t count) {
    const lookup *c = context;
    for (int64_t bag = 0; bag < c->bags; bag++) {
        int64_t start, end;
        bag_range(c, bag, &start, &end);
        double scale = bag_scale(c, end - start);
        for (int64_t i = start; i < end; i++) {
            int64_t bucket = c->ids[i] % BUCKETS;
            if (bucket < first || bucket >= first + count) continue;
            FV__CALL(c->dtype, axpy, fv__at(c->dtable, c->ids[i] * c->width, c->size), scale,
                     fv__at(c->dy, bag * c->width, c->size), c->width);
        }
    }
}

static void lookup_back(fv_graph *g, fv_node *node) {
    lookup c = *(lookup *)node->saved;
    c.dy = fv__grad_at(node).data;
    const int64_t first = c.offsets ? c.offsets[0] : 0, end = c.offsets ? c.offsets[c.bags] : c.bags;
    c.dtable = fv__grad_of_rows(g, node->in[0], c.ids + first, end - first).data;
    if (!c.dtable) return;
    bool small = c.bags * c.width < FV__PIECE;
    fv__spans(BUCKETS, small ? BUCKETS : 1, scatter, &c);
}

static fv_status check_ids(const char *where, const int32_t *ids, int64_t count, int64_t rows) {
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= rows)
            return fv__fail(FV_BAD_DATA,
                            "%s: id number %lld\n  expected 0 to %lld, the rows of the table\n  found:   %d", where,
                            (long long)i, (long long)rows - 1, ids[i]);
    return FV_OK;
}

static fv_status check_offsets(const char *where, const int64_t *offsets, int64_t bags) {
    bool fine = offsets[0] >= 0;
    for (int64_t i = 0; i < bags && fine; i++) fine = offsets[i] <= offsets[i + 1];
    return fine ? FV_OK : fv__fail(FV_BAD_DATA, "%s: offsets of bags must not decrease", where);
}

static fv_node *look_up(fv_graph *g, const char *where, fv_node *table, lookup c, int64_t count) {
    if (table->value.rank != 2) return fv__refuse(g, where, "a table [rows, width]", table);
    fv_status status = check_ids(where, c.ids, count, table->value.dim[0]);
    if (status != FV_OK) return fv_graph_failed(g, status);
    table = fv__node_dense(g, table);
    c.dtype = g->dtype;
    c.size = g->size;
    c.width = table->value.dim[1];
    c.table = table->value.data;
    c.ids = fv__graph_copy(g, c.ids, (size_t)count, sizeof *c.ids);
    if (c.offsets) c.offsets = fv__graph_copy(g, c.offsets, (size_t)c.bags + 1, sizeof *c.offsets);
    fv_node *y = fv__node_new(g, 2, (int64_t[]){c.bags, c.width}, &table, 1, lookup_back);
    c.y = y->value.data;
    if (g->status != FV_OK || !(y->saved = fv__graph_copy(g, &c, 1, sizeof c))) return &g->empty;
    fv__spans(c.bags, fv__piece_rows(c.width), gather, &c);
    return y;
}

fv_node *fv_op_embedding(fv_graph *g, fv_node *table, const int32_t *ids, int64_t count) {
    if (!fv__ready(g, "fv_op_embedding", &table, 1)) return &g->empty;
    return look_up(g, "fv_op_embedding", table, (lookup){.ids = ids, .bags = count}, count);
}

fv_node *fv_op_embedding_bag(fv_graph *g, fv_node *table, const int32_t *ids, const int64_t *offsets, int64_t bags,
                             fv_bag kind) {
    if (!fv__ready(g, "fv_op_embedding_bag", &table, 1)) return &g->empty;
    fv_status status = check_offsets("fv_op_embedding_bag", offsets, bags);
    if (status != FV_OK) return fv_graph_failed(g, status);
    return look_up(g, "fv_op_embedding_bag", table,
                   (lookup){.ids = ids, .offsets = offsets, .bags = bags, .kind = kind}, offsets[bags]);
}
