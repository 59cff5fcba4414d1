/* Attention weights from anywhere: see weights_file.h. */
#include "weights_file.h"
#include "console.h"

#include <inttypes.h>
#include <math.h>

/* ---- shape */

/* A batch of one is left out: (layers, 1, heads, queries, keys) or (1, layers, ...). */
static fv_tensor without_batch(fv_tensor t) {
    if (t.rank != 5 || (t.dim[0] != 1 && t.dim[1] != 1)) return t;
    for (int i = t.dim[1] == 1; i < 4; i++) {
        t.dim[i] = t.dim[i + 1];
        t.stride[i] = t.stride[i + 1];
    }
    t.rank = 4;
    return t;
}

static fv_status take_shape(cli_weights *w, const char *name, const fv_tensor *t) {
    char shape[128];
    fv_tensor_describe(t, shape, sizeof shape);
    if (t->rank < 1 || t->rank > 4)
        return cli_fail(FV_BAD_DATA,
                        "%s: no attention weights\n  expected (layers, heads, queries, keys), (heads, queries, keys), "
                        "(queries, keys) or (keys)\n  found:   %s",
                        name, shape);
    int64_t dim[4] = {1, 1, 1, 1};
    for (int i = 0; i < t->rank; i++) dim[4 - t->rank + i] = t->dim[i];
    *w = (cli_weights){.layers = dim[0], .heads = dim[1], .queries = dim[2], .keys = dim[3]};
    if (fv_tensor_count(t) > 0) return FV_OK;
    return cli_fail(FV_BAD_DATA, "%s: no attention weights\n  expected at least one\n  found:   %s", name, shape);
}

/* ---- rows */

typedef struct work {
    cli_weights *w;
    const char *name;
    const cli_weights_options *how;
    int64_t masked;     /* rows of NaN */
    double least, most; /* sums of the others */
} work;

static fv_status refuse(const work *k, int64_t row, int64_t key, double found) {
    const cli_weights *w = k->w;
    int64_t layer = row / (w->heads * w->queries), head = row / w->queries % w->heads, query = row % w->queries;
    return cli_fail(FV_BAD_DATA,
                    "%s: layer %" PRId64 ", head %" PRId64 ", query %" PRId64 ", key %" PRId64
                    " is no attention weight\n  expected a finite number that is not negative\n  found:   %g%s",
                    k->name, layer, head, query, key, found,
                    found < 0 ? "\n  try:     --softmax, when these are scores before the softmax" : "");
}

/* exp(score - largest); a score of -inf is a key that is not seen. */
static void softmax(float *row, int64_t keys) {
    float most = -INFINITY;
    for (int64_t j = 0; j < keys; j++) most = fmaxf(most, row[j]);
    for (int64_t j = 0; j < keys; j++) row[j] = most > -INFINITY ? expf(row[j] - most) : 0;
}

static bool all_nan(const float *row, int64_t keys) {
    for (int64_t j = 0; j < keys; j++)
        if (!isnan(row[j])) return false;
    return true;
}

/* Rows of NaN are what a softmax makes of a query that sees nothing. */
static fv_status take_row(work *k, int64_t r) {
    int64_t keys = k->w->keys;
    float *row = k->w->weight + r * keys;
    if (all_nan(row, keys)) {
        for (int64_t j = 0; j < keys; j++) row[j] = 0;
        k->masked++;
        return FV_OK;
    }
    for (int64_t j = 0; j < keys; j++) {
        bool fine = k->how->softmax ? !isnan(row[j]) && row[j] < INFINITY : isfinite(row[j]) && row[j] > -1e-6f;
        if (!fine) return refuse(k, r, j, (double)row[j]);
    }
    if (k->how->softmax) softmax(row, keys);
    double sum = 0;
    for (int64_t j = 0; j < keys; j++) sum += row[j] = fmaxf(row[j], 0);
    if ((k->how->softmax || k->how->normalize) && sum > 0) {
        for (int64_t j = 0; j < keys; j++) row[j] = (float)(row[j] / sum);
        sum = 1;
    }
    if (sum == 0) return FV_OK;
    k->least = fmin(k->least, sum);
    k->most = fmax(k->most, sum);
    return FV_OK;
}

/* Sums within two per cent of one are weights that were kept in 16 bits. */
static void finish_rows(work *k) {
    cli_weights *w = k->w;
    int64_t rows = w->layers * w->heads * w->queries;
    bool near = k->least > 0.98 && k->most < 1.02;
    for (int64_t r = 0; near && r < rows; r++) {
        double sum = 0;
        for (int64_t j = 0; j < w->keys; j++) sum += w->weight[r * w->keys + j];
        for (int64_t j = 0; sum > 0 && j < w->keys; j++)
            w->weight[r * w->keys + j] = (float)(w->weight[r * w->keys + j] / sum);
    }
    if (k->masked)
        cli_warn("%s: %" PRId64 " rows are NaN throughout: shown as queries that see nothing", k->name, k->masked);
    if (!near && k->most > 0)
        cli_warn(
            "%s: rows do not sum to 1 (sums from %.3g to %.3g): shown as they are\n"
            "  try:     --normalize, which divides each row by its sum",
            k->name, k->least, k->most);
}

fv_status cli_weights_read(cli_weights *w, const char *name, const fv_tensor *tensor, const cli_weights_options *how) {
    fv_tensor from = without_batch(*tensor), to = from;
    fv_status status = take_shape(w, name, &from);
    if (status != FV_OK) return status;
    w->weight = cli_alloc((size_t)fv_tensor_count(&from) * sizeof *w->weight);
    to = fv_tensor_of(w->weight, FV_F32, from.rank, from.dim);
    status = fv_tensor_copy(&to, &from);
    work k = {w, name, how, 0, INFINITY, 0};
    for (int64_t r = 0; status == FV_OK && r < w->layers * w->heads * w->queries; r++) status = take_row(&k, r);
    if (status == FV_OK) finish_rows(&k);
    return status;
}
