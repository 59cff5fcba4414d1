/* Decoding and what rows see: the last rows of fv_attention over the whole sequence, with every option that both
 * have; what is hidden is never looked at; windows and prefixes together. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "decode_case.h"
#include "fovea/attention.h"

/* ---- the last rows of a prefill */

/* A tensor of these dimensions in memory of its own, with what the part of `from` holds. */
static fv_tensor own(const fv_tensor *from, fv_dtype dtype) {
    fv_tensor t = fv_tensor_of(NULL, dtype, from->rank, from->dim);
    t.data = malloc((size_t)fv_tensor_count(&t) * fv_dtype_size(dtype) + 8);
    assert_int_equal(fv_tensor_copy(&t, from), FV_OK);
    return t;
}

static fv_tensor own_plane(const fv_tensor *from, fv_dtype dtype, int64_t n, int64_t length) {
    const fv_tensor part = case_slice(case_slice(*from, 2, 0, n), 3, 0, length);
    return own(&part, dtype);
}

static fv_tensor own_rows(int64_t heads, int64_t n, int64_t width) {
    return fv_bhld(malloc((size_t)(n * heads * width) * 4 + 8), FV_F32, 1, heads, n, width);
}

/* The same problem for fv_attention: the whole sequence as keys, the new rows as queries. */
static void prefill(const decode_case *c, int64_t n, fv_attention_tensors *x) {
    const fv_cache_options *o = &c->keep;
    const int64_t length = c->length[0], none = 0;
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    fv_attention_call call = {0};
    const fv_tensor rows = fv_tensor_slice(c->x.q, 2, 0, n);
    how.scale = c->how.scale, how.softcap = c->how.softcap, how.mask_means = c->how.mask_means;
    how.causal = c->how.memory || c->how.see_all ? FV_CAUSAL_NONE : FV_CAUSAL_LOWER_RIGHT;
    if (c->how.see_all && !c->how.memory) call.q_offset = length - n;
    how.window = c->how.window;
    x->t[FV_Q] = own(&rows, FV_F32), x->t[FV_OUT] = own_rows(c->heads, n, o->d_v);
    x->t[FV_K] = own_rows(o->kv_heads, length, o->d_qk), x->t[FV_V] = own_rows(o->kv_heads, length, o->d_v);
    const fv_tensor k3 = fv_tensor_of(x->t[FV_K].data, FV_F32, 3, x->t[FV_K].dim + 1);
    const fv_tensor v3 = fv_tensor_of(x->t[FV_V].data, FV_F32, 3, x->t[FV_V].dim + 1);
    assert_int_equal(fv_kv_cache_read(c->cache, 0, 0, &k3, &v3), FV_OK);
    x->t[FV_SINKS] = c->x.sinks, x->t[FV_SLOPES] = c->x.slopes;
    if (c->x.bias.rank) x->t[FV_BIAS] = own_plane(&c->x.bias, FV_F32, n, length);
    if (c->x.mask.rank) x->t[FV_MASK] = own_plane(&c->x.mask, c->x.mask.dtype, n, length);
    if (c->x.prefix_len.rank) {
        x->t[FV_PREFIX_LEN] = own(&c->x.prefix_len, FV_I64);
        if (fv_tensor_get(&x->t[FV_PREFIX_LEN], &none) > (double)length)
            fv_tensor_set(&x->t[FV_PREFIX_LEN], &none, (double)length);
    }
    if (fv_attention(&how, &call, x) != FV_OK) fail_msg("seed %ld: %s", (long)c->seed, fv_message());
}

static void rows_of_a_prefill(void **state) {
    static const fv_operand owned[] = {FV_Q, FV_K, FV_V, FV_OUT, FV_BIAS, FV_MASK, FV_PREFIX_LEN};
    (void)state;
    for (int64_t i = 0; i < case_times(200); i++) {
        decode_case c;
        fv_attention_tensors x = {0};
        case_begin(&c, (uint64_t)(5000 + i));
        case_shape(&c, 300);
        c.keep.batch = 1, c.keep.dtype = FV_F32, c.keep.kind = FV_CACHE_CONTIGUOUS, c.keep.capacity = 400;
        case_make(&c, 300);
        const int64_t n = c.counts[0];
        assert_int_equal(case_run(&c, c.cache, &c.x, c.n), FV_OK);
        if (n > 0) prefill(&c, n, &x);
        for (int64_t h = 0; h < c.heads; h++)
            for (int64_t r = 0; r < n; r++)
                for (int64_t d = 0; d < c.keep.d_v; d++) {
                    const double a = get4(&c.x.out, 0, h, r, d), b = get4(&x.t[FV_OUT], 0, h, r, d);
                    if (!(fabs(a - b) <= 3e-5 + case_slack(c.x.out.dtype) * fabs(b)))
                        fail_msg("seed %ld: decoded %.9g, prefilled %.9g", (long)c.seed, a, b);
                }
        for (size_t p = 0; p < sizeof owned / sizeof *owned; p++) free(x.t[owned[p]].data);
        case_free(&c);
    }
}

/* Hides position j of sequence b from all rows, by the mask or by a bias of -inf. */
static bool case_hides(const decode_case *c, int64_t b, int64_t j, bool by_mask) {
    if (!by_mask) return get4(&c->x.bias, b, 0, 0, j) == -INFINITY;
    return (get4(&c->x.mask, b, 0, 0, j) != 0) == (c->how.mask_means == FV_MASK_DROP);
}

static void case_hide_some(decode_case *c, int64_t longest, bool by_mask) {
    const int64_t dim[4] = {c->keep.batch, 1, 1, longest};
    fv_tensor *t = by_mask ? &c->x.mask : &c->x.bias;
    const int slot = by_mask ? 9 : 8;
    free(c->block[slot]);
    *t = case_tensor(c, slot, by_mask ? FV_U8 : FV_F32, 4, dim);
    for (int64_t b = 0; b < c->keep.batch; b++)
        for (int64_t j = 0; j < longest; j++) {
            const bool hide = pick(c, 8) == 0, means_drop = c->how.mask_means == FV_MASK_DROP;
            const double bias = hide ? -INFINITY : uniform(c);
            fv_tensor_set(t, (int64_t[]){b, 0, 0, j}, by_mask ? hide == means_drop : bias);
        }
}

/* Keys, values and biases that are hidden from every row are never looked at: there may be anything. */
static void what_is_hidden(void **state) {
    (void)state;
    for (int64_t i = 0; i < case_times(60); i++) {
        decode_case c;
        const int64_t most = i % 4 ? 200 : 2000;
        const bool by_mask = i % 3 > 0;
        case_begin(&c, (uint64_t)(5500 + i));
        case_shape(&c, most);
        case_make(&c, most);
        case_hide_some(&c, most + 60, by_mask);
        assert_int_equal(case_run(&c, c.cache, &c.x, c.n), FV_OK);
        case_check_answer(&c);
        const fv_tensor *bias = &c.x.bias;
        for (int64_t b = 0; b < c.keep.batch; b++)
            for (int64_t j = c.first[b]; j < c.length[b]; j++) {
                if (!case_hides(&c, b, j, by_mask)) continue;
                for (int64_t h = 0; h < c.keep.kv_heads; h++) {
                    const fv__kv_place at = fv__kv_at(c.cache, b, h, j);
                    const size_t size = fv_dtype_size(c.keep.dtype);
                    memset(at.v, 0xff, c.cache->v_pitch);
                    for (int64_t d = 0; d < c.keep.d_qk; d++)
                        memset(at.k + (size_t)fv__kv_element(c.keep.dtype, j, d) * size, 0xff, size);
                }
                if (!by_mask || !bias->rank || bias->dim[0] != c.keep.batch || bias->dim[3] == 1) continue;
                for (int64_t h = 0; h < bias->dim[1]; h++)
                    for (int64_t r = 0; r < bias->dim[2]; r++) fv_tensor_set(bias, (int64_t[]){b, h, r, j}, NAN);
            }
        case_check_run_same(&c, c.cache, "hidden");
        case_free(&c);
    }
}

/* The first row sees the last position, which is thousands of rows behind it: more chunks than its window has. */
static void a_window_and_a_late_prefix(void **state) {
    (void)state;
    enum { N = 3000 };
    const fv_cache_options o = {1, 1, 1, 1, FV_F32, FV_CACHE_CONTIGUOUS, N, 0, 0};
    static float q[N], v[N], out[N];
    decode_case c = {.keep = o, .heads = 1, .how = {.window = FV_WINDOW(5, -1)}};
    fv_kv_cache *cache;
    for (int i = 0; i < N; i++) v[i] = (float)i;
    const fv_tensor rows = fv_bhld(q, FV_F32, 1, 1, N, 1), values = fv_bhld(v, FV_F32, 1, 1, N, 1);
    assert_int_equal(fv_kv_cache_create(&cache, &o), FV_OK);
    assert_int_equal(fv_kv_cache_append(cache, &rows, &values, NULL), FV_OK);
    const fv_decode_tensors x = {
        .q = rows, .out = fv_bhld(out, FV_F32, 1, 1, N, 1), .prefix_len = fv_tensor_1d((int64_t[]){N}, FV_I64, 1)};
    if (case_run(&c, cache, &x, N) != FV_OK) fail_msg("%s", fv_message());
    for (int i = 0; i < N; i++) { /* all scores are 0: a mean */
        const double want = 0.5 * ((i > 5 ? i - 5 : 0) + N - 1);
        if (fabs(out[i] - want) > 1e-2) fail_msg("row %d: %g, not %g", i, (double)out[i], want);
    }
    fv_kv_cache_free(cache);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_a_prefill),
        cmocka_unit_test(what_is_hidden),
        cmocka_unit_test(a_window_and_a_late_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
