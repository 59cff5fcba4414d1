/* The text of a mechanism, "name:key=value,...", on a problem whose sizes the first bytes choose; what can be planned
 * is computed, with its gradients. */
#include "fuzz/fuzz.h"

#include "fovea/attention.h"

enum { MOST = 1 << 16 }; /* numbers of all tensors together */

static float *block;
static size_t used;

/* A tensor of the shape the mechanism wants, of small numbers. rank 0: not wanted, or too large. */
static fv_tensor tensor_for(const fv_attention_options *how, const fv_attention_tensors *x, fv_operand operand) {
    fv_tensor t = {0};
    if (fv_attention_operand_shape(how, x, operand, &t) != FV_OK || !t.rank) return (fv_tensor){0};
    int64_t count = fv_tensor_count(&t);
    if (count < 0 || t.dtype != FV_F32 || used + (size_t)count > MOST) return (fv_tensor){0};
    t = fv_tensor_of(block + used, FV_F32, t.rank, t.dim);
    for (int64_t i = 0; i < count; i++)
        block[used + (size_t)i] = (float)((i * 7919 + (int64_t)operand) % 13) / 8 - 0.7f;
    used += (size_t)count;
    return t;
}

static void run(const fv_attention_options *how, int64_t q_len, int64_t k_len, int64_t d, bool gradients) {
    fv_attention_tensors x = {.t = {[FV_Q] = fv_bhld(block, FV_F32, 1, 2, q_len, d)}};
    used = (size_t)(2 * q_len * d);
    x.t[FV_K] = fv_bhld(block + used, FV_F32, 1, 2, k_len, d), used += (size_t)(2 * k_len * d);
    x.t[FV_V] = fv_bhld(block + used, FV_F32, 1, 2, k_len, d), used += (size_t)(2 * k_len * d);
    for (size_t i = 0; i < used; i++) block[i] = (float)(i * 31 % 17) / 8 - 1;
    const fv_mechanism *m = NULL;
    char name[32];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(how->mechanism, ":"), how->mechanism);
    if (!(m = fv_mechanism_find(name))) return;
    for (int p = 0; p < FV_OPERANDS; p++)
        if (!x.t[p].rank && ((m->needs & FV_OPERAND_BIT(p)) || p == FV_OUT || (gradients && p == FV_LSE)))
            x.t[p] = tensor_for(how, &x, (fv_operand)p);
    fuzz_done(fv_attention(how, NULL, &x));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    char *text[1];
    if (size < 4) return 0;
    if (!block && !(block = fv__alloc_array(2 * MOST, sizeof *block))) abort();
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    fuzz_cut(text, 1, bytes + 4, size - 4);
    how.mechanism = text[0];
    how.causal = (fv_causal)(bytes[3] % 3);
    fv_set_threads(1);
    run(&how, bytes[0] % 40, bytes[1] % 40, bytes[2] % 20, bytes[3] & 2);
    fv__free(text[0]);
    return 0;
}
