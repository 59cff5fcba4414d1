/* The vector vocabulary of AVX-512 (F, DQ, BW, VL). Meanings: vec_scalar.h. */
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define VL 16
typedef __m512 vr;
typedef __mmask16 vm;
typedef __m512i vu;

#define FIRST(n) ((__mmask16)((n) >= 16 ? 0xffffu : (1u << (n)) - 1u))
static inline vr v_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void v_store(float *p, vr v) { _mm512_storeu_ps(p, v); }
static inline vr v_loadn(const float *p, int64_t n) { return _mm512_maskz_loadu_ps(FIRST(n), p); }
static inline void v_storen(float *p, vr v, int64_t n) { _mm512_mask_storeu_ps(p, FIRST(n), v); }
static inline vr v_set(float x) { return _mm512_set1_ps(x); }
static inline vr v_one(const float *p) { return _mm512_set1_ps(*p); }
static inline vr v_iota(void) { return _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0); }
static inline vr v_add(vr a, vr b) { return _mm512_add_ps(a, b); }
static inline vr v_sub(vr a, vr b) { return _mm512_sub_ps(a, b); }
static inline vr v_mul(vr a, vr b) { return _mm512_mul_ps(a, b); }
static inline vr v_div(vr a, vr b) { return _mm512_div_ps(a, b); }
static inline vr v_fma(vr a, vr b, vr c) { return _mm512_fmadd_ps(a, b, c); }
static inline vr v_fnma(vr a, vr b, vr c) { return _mm512_fnmadd_ps(a, b, c); }
static inline vr v_max(vr a, vr b) { return _mm512_max_ps(a, b); }
static inline vr v_min(vr a, vr b) { return _mm512_min_ps(a, b); }
static inline vr v_sqrt(vr a) { return _mm512_sqrt_ps(a); }
static inline vr v_abs(vr a) { return _mm512_abs_ps(a); }
static inline vr v_sign_of(vr a, vr s) {
    const __m512 sign = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(sign, a), _mm512_and_ps(sign, s));
}
static inline vr v_round(vr a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static inline vr v_square_rest(vr a, vr aa) { return _mm512_fmsub_ps(a, a, aa); }
static inline vr v_ldexp(vr p, vr n) { return _mm512_scalef_ps(p, n); }
static inline vr v_exponent(vr x) { return _mm512_getexp_ps(x); }
static inline vr v_mantissa(vr x) { return _mm512_getmant_ps(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src); }
static inline vm v_lt(vr a, vr b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
static inline vm v_le(vr a, vr b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
static inline vm v_eq(vr a, vr b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
static inline vm v_and(vm a, vm b) { return (vm)(a & b); }
static inline vr v_select(vm m, vr a, vr b) { return _mm512_mask_blend_ps(m, b, a); }
static inline float v_sum(vr v) { return _mm512_reduce_add_ps(v); }
static inline float v_hmax(vr v) { return _mm512_reduce_max_ps(v); }
static inline vr v_swap_pairs(vr a) { return _mm512_permute_ps(a, 0xb1); }
static inline vr v_alternate(float even, float odd) {
    return _mm512_mask_blend_ps(0xaaaa, _mm512_set1_ps(even), _mm512_set1_ps(odd));
}
static inline vr v_twice(const float *p, int64_t n) {
    const __m512i from = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    return _mm512_permutexvar_ps(from, _mm512_maskz_loadu_ps(FIRST(n / 2), p));
}
static inline vm v_bits(uint32_t bits) { return (vm)bits; }
static inline bool v_any(vm m) { return m != 0; }

/* 16 x 16 in place: pairs, quads, then 128-bit lanes twice. */
static inline __attribute__((always_inline)) void v_transpose(vr *x) {
    __m512 t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        __m512d a = _mm512_castps_pd(t[i]), b = _mm512_castps_pd(t[i + 1]);
        __m512d c = _mm512_castps_pd(t[i + 2]), d = _mm512_castps_pd(t[i + 3]);
        x[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        x[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        x[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        x[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_f32x4(x[i], x[i + 4], 0x88), t[i + 4] = _mm512_shuffle_f32x4(x[i], x[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_f32x4(x[i + 8], x[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_f32x4(x[i + 8], x[i + 12], 0xdd);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        x[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88), x[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
        x[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
        x[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

/* A macro: gcc takes a function that only does this for one without effect and drops the calls. */
#define v_prefetch(address) _mm_prefetch((const char *)(address), _MM_HINT_T0)

static inline vr v_load_f16(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
static inline vr v_loadn_f16(const uint16_t *p, int64_t n) {
    return n > 0 ? _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(FIRST(n), p)) : _mm512_setzero_ps();
}
static inline void split_bf16(__m512i x, vr *even, vr *odd) {
    *even = _mm512_castsi512_ps(_mm512_slli_epi32(x, 16));
    *odd = _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32((int)0xffff0000)));
}
static inline void v_load2_bf16(const uint16_t *p, vr *even, vr *odd) { split_bf16(_mm512_loadu_si512(p), even, odd); }
static inline void v_loadn2_bf16(const uint16_t *p, int64_t n, vr *even, vr *odd) {
    const __mmask32 some = n >= 32 ? 0xffffffffu : (1u << n) - 1u;
    split_bf16(_mm512_maskz_loadu_epi16(some, p), even, odd);
}

static inline vu u_set(uint32_t x) { return _mm512_set1_epi32((int)x); }
static inline vu u_iota(void) { return _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0); }
static inline vu u_add(vu a, vu b) { return _mm512_add_epi32(a, b); }
static inline vu u_xor3(vu a, vu b, vu c) { return _mm512_ternarylogic_epi32(a, b, c, 0x96); }
static inline vu u_shl16(vu a) { return _mm512_slli_epi32(a, 16); }
static inline vm u_ge(vu a, vu b) { return _mm512_cmpge_epu32_mask(a, b); }
static inline void u_mul(vu a, uint32_t m, vu *hi, vu *lo) {
    __m512i factor = _mm512_set1_epi64((long long)m);
    __m512i even = _mm512_mul_epu32(a, factor), odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), factor);
    *hi = _mm512_mask_shuffle_epi32(odd, 0x5555, even, (_MM_PERM_ENUM)0xf5);
    *lo = _mm512_mask_shuffle_epi32(even, 0xaaaa, odd, (_MM_PERM_ENUM)0xa0);
}
