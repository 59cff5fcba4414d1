/* Small dense calls for the tests of laws: tensors of random numbers in memory of their own, run, refused, freed.
 * CALL_REAL is their type, float unless the test says double; an element's number depends on its tensor and its place
 * there alone. */
#ifndef FV_TESTS_ATTN_CALL_H
#define FV_TESTS_ATTN_CALL_H

#include "attn_case.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#ifndef CALL_REAL
#define CALL_REAL float
#endif

typedef struct call {
    fv_attention_options how;
    fv_attention_call call;
    fv_attention_tensors x;
    CALL_REAL *memory[2 * FV_OPERANDS]; /* of t, then of d */
} call;

static inline void call_give(call *c, fv_operand operand, bool gradient, int rank, const int64_t *dim) {
    const int slot = (gradient ? FV_OPERANDS : 0) + (int)operand;
    fv_tensor *to = gradient ? &c->x.d[operand] : &c->x.t[operand];
    *to = fv_tensor_of(NULL, sizeof(CALL_REAL) == 8 ? FV_F64 : FV_F32, rank, dim);
    const int64_t count = fv_tensor_count(to);
    to->data = c->memory[slot] = malloc((size_t)count * sizeof(CALL_REAL) + 8);
    for (int64_t i = 0; i < count; i++)
        c->memory[slot][i] = (CALL_REAL)(2 * fv__random_uniform(5, (uint64_t)slot, (uint64_t)i) - 1);
}

/* q k v out and lse with their gradients. */
static inline call call_make(int64_t b, int64_t h, int64_t kv, int64_t lq, int64_t lk, int64_t d, int64_t dv) {
    static const fv_attention_options standard = FV_ATTENTION_DEFAULT;
    call c = {.how = standard};
    const int64_t q[4] = {b, h, lq, d}, k[4] = {b, kv, lk, d}, v[4] = {b, kv, lk, dv}, out[4] = {b, h, lq, dv};
    for (int g = 0; g < 2; g++) {
        call_give(&c, FV_Q, g, 4, q), call_give(&c, FV_K, g, 4, k), call_give(&c, FV_V, g, 4, v);
        call_give(&c, FV_OUT, g, 4, out), call_give(&c, FV_LSE, g, 3, out);
    }
    return c;
}

static inline void call_free(call *c) {
    for (int i = 0; i < 2 * FV_OPERANDS; i++) free(c->memory[i]);
}

static inline void call_run(call *c) {
    const fv_status status = fv_attention(&c->how, &c->call, &c->x);
    if (status != FV_OK) fprintf(stderr, "%s\n", fv_message());
    assert_int_equal(status, FV_OK);
}

static inline void call_refused(call *c, const char *words) {
    const fv_status status = fv_attention(&c->how, &c->call, &c->x);
    if (status != FV_USAGE || !strstr(fv_message(), words))
        fprintf(stderr, "expected \"%s\", got \"%s\"\n", words, fv_message());
    assert_int_equal(status, FV_USAGE);
    assert_non_null(strstr(fv_message(), words));
}

#endif
