/* `fovea attend --statistics`: pooled means and maxima, columns and entropy of all weights, head by head. */
#include "attend.h"
#include "console.h"
#include "flags.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { POOLED = 1, COLUMNS = 2, ENTROPY = 4 };

static fv_status parse_list(const char *text, int *wanted) {
    static const char *const names[] = {"pooled", "columns", "entropy"};
    *wanted = 0;
    for (const char *at = text; at; at = *at ? at + 1 : NULL) {
        size_t size = strcspn(at, ",");
        int known = 0;
        while (known < 3 && (strlen(names[known]) != size || strncmp(names[known], at, size) != 0)) ++known;
        if (known == 3)
            return cli_fail(FV_USAGE,
                            "--statistics %s: unknown part\n  expected a list of pooled, columns, entropy\n"
                            "  found:   %.*s",
                            text, (int)size, at);
        *wanted |= 1 << known;
        at += size;
    }
    return FV_OK;
}

static fv_status parse_pool(const char *text, fv_attention_statistics *want) {
    const int64_t most = INT64_C(1) << 48;
    char *end;
    errno = 0;
    want->pool_q = strtoll(text, &end, 10);
    bool good = end != text && *end == ',' && errno == 0;
    const char *second = good ? end + 1 : text;
    want->pool_k = strtoll(second, &end, 10);
    good = good && end != second && *end == '\0' && errno == 0 && want->pool_q > 0 && want->pool_k > 0 &&
           want->pool_q <= most && want->pool_k <= most;
    if (good) return FV_OK;
    return cli_fail(FV_USAGE,
                    "--pool: wrong sizes\n  expected BQ,BK, both from 1 to 2^48, such as 64,64\n  found:   %s", text);
}

/* The longest packed sequence; without packing the length of all. */
static int64_t longest(const fv_tensor *cu, int64_t whole) {
    int64_t most = 0;
    if (cu->rank == 0) return whole;
    for (int64_t n = 0; n + 1 < cu->dim[0]; n++) {
        int64_t next = n + 1;
        int64_t length = (int64_t)(fv_tensor_get(cu, &next) - fv_tensor_get(cu, &n));
        if (length > most) most = length;
    }
    return most;
}

static fv_tensor output(fv_dtype dtype, int rank, const int64_t *dim) {
    fv_tensor like = fv_tensor_of(NULL, dtype, rank, dim);
    return attend_new(dtype, ATTEND_BHLD, &like);
}

/* Room for everything that is wanted, `heads` heads each. */
static fv_attention_statistics make_outputs(const fv_attention_tensors *x, fv_dtype dtype,
                                            const fv_attention_statistics *how, int wanted, int64_t heads) {
    const fv_tensor *q = &x->t[FV_Q], *k = &x->t[FV_K], *cu_q = &x->t[FV_CU_Q],
                    *cu_k = x->t[FV_CU_K].rank ? &x->t[FV_CU_K] : cu_q;
    fv_attention_statistics all = *how;
    int64_t bq = (longest(cu_q, q->dim[2]) + how->pool_q - 1) / how->pool_q;
    int64_t bk = (longest(cu_k, k->dim[2]) + how->pool_k - 1) / how->pool_k;
    int64_t blocks[4] = {cu_q->rank ? cu_q->dim[0] - 1 : q->dim[0], heads, bq, bk};
    int64_t columns[3] = {q->dim[0], heads, k->dim[2]}, rows[3] = {q->dim[0], heads, q->dim[2]};
    if (wanted & POOLED) all.mean = output(dtype, 4, blocks);
    if (wanted & POOLED) all.max = output(dtype, 4, blocks);
    if (wanted & COLUMNS) all.columns = output(dtype, 3, columns);
    if (wanted & ENTROPY) all.entropy = output(dtype, 3, rows);
    return all;
}

static fv_tensor of_head(const fv_tensor *t, int64_t head) { return t->rank ? fv_tensor_slice(*t, 1, head, 1) : *t; }

fv_status attend_statistics_check(const attend_options *o) {
    fv_attention_statistics how;
    int wanted;
    fv_status status = o->statistics ? parse_list(o->statistics, &wanted) : FV_OK;
    return status == FV_OK ? parse_pool(o->pool, &how) : status;
}

fv_status attend_statistics(const attend_options *o, const fv_attention_plan *plan, const fv_attention_call *call,
                            const fv_attention_tensors *x, fv_dtype dtype) {
    fv_attention_statistics how = FV_ATTENTION_STATISTICS_DEFAULT;
    int64_t *head = NULL, heads = 0;
    int wanted;
    fv_status status = parse_list(o->statistics, &wanted);
    if (status == FV_OK) status = parse_pool(o->pool, &how);
    if (status == FV_OK) status = attend_numbers("--head-list", o->head_list, x->t[FV_Q].dim[1], &head, &heads);
    if (status != FV_OK) return status;
    how.dropout = o->statistics_dropout;
    const bool keys = x->t[FV_K].rank > 0; /* without them the library says what cannot be */
    fv_attention_statistics all = keys ? make_outputs(x, dtype, &how, wanted, heads) : how;
    for (int64_t i = 0; i < heads && status == FV_OK; i++) {
        fv_attention_statistics one = all;
        one.head = head[i];
        one.mean = of_head(&all.mean, i), one.max = of_head(&all.max, i);
        one.columns = of_head(&all.columns, i), one.entropy = of_head(&all.entropy, i);
        void *scratch = cli_alloc(fv_attention_statistics_scratch(plan, &one) + 1);
        status = fv_attention_statistics_compute(plan, call, x, &one, scratch);
        cli_free(scratch);
    }
    cli_free(head);
    if (status != FV_OK) return status;
    if (wanted & POOLED) attend_put("pooled_mean", &all.mean, ATTEND_BHLD, dtype);
    if (wanted & POOLED) attend_put("pooled_max", &all.max, ATTEND_BHLD, dtype);
    if (wanted & COLUMNS) attend_put("columns", &all.columns, ATTEND_BHLD, dtype);
    if (wanted & ENTROPY) attend_put("entropy", &all.entropy, ATTEND_BHLD, dtype);
    return FV_OK;
}
