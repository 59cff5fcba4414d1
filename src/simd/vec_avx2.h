/* The vector vocabulary of AVX2 with FMA and F16C. Meanings: vec_scalar.h. */
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define VL 8
typedef __m256 vr;
typedef __m256 vm;
typedef __m256i vu;

static inline __m256i v_first(int64_t n) {
    static const int32_t window[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
    return _mm256_loadu_si256((const __m256i *)(window + 8 - (n > 8 ? 8 : n)));
}
static inline vr v_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void v_store(float *p, vr v) { _mm256_storeu_ps(p, v); }
static inline vr v_loadn(const float *p, int64_t n) { return _mm256_maskload_ps(p, v_first(n)); }
static inline void v_storen(float *p, vr v, int64_t n) { _mm256_maskstore_ps(p, v_first(n), v); }
static inline vr v_set(float x) { return _mm256_set1_ps(x); }
static inline vr v_one(const float *p) { return _mm256_set1_ps(*p); }
static inline vr v_iota(void) { return _mm256_set_ps(7, 6, 5, 4, 3, 2, 1, 0); }
static inline vr v_add(vr a, vr b) { return _mm256_add_ps(a, b); }
static inline vr v_sub(vr a, vr b) { return _mm256_sub_ps(a, b); }
static inline vr v_mul(vr a, vr b) { return _mm256_mul_ps(a, b); }
static inline vr v_div(vr a, vr b) { return _mm256_div_ps(a, b); }
static inline vr v_fma(vr a, vr b, vr c) { return _mm256_fmadd_ps(a, b, c); }
static inline vr v_fnma(vr a, vr b, vr c) { return _mm256_fnmadd_ps(a, b, c); }
static inline vr v_max(vr a, vr b) { return _mm256_max_ps(a, b); }
static inline vr v_min(vr a, vr b) { return _mm256_min_ps(a, b); }
static inline vr v_sqrt(vr a) { return _mm256_sqrt_ps(a); }
static inline vr v_abs(vr a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
static inline vr v_sign_of(vr a, vr s) { return _mm256_or_ps(v_abs(a), _mm256_and_ps(_mm256_set1_ps(-0.0f), s)); }
static inline vr v_round(vr a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static inline vr v_square_rest(vr a, vr aa) { return _mm256_fmsub_ps(a, a, aa); }
/* Two steps, so that results below 2^-126 and above 2^127 are right; n within +-250. */
static inline vr v_ldexp(vr p, vr n) {
    __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1), rest = _mm256_sub_epi32(whole, half);
    __m256i bias = _mm256_set1_epi32(127);
    __m256 a = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    __m256 b = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
    return _mm256_mul_ps(_mm256_mul_ps(p, a), b);
}
static inline vr v_exponent(vr x) {
    __m256i bits = _mm256_srli_epi32(_mm256_castps_si256(x), 23);
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(bits, _mm256_set1_epi32(127)));
}
static inline vr v_mantissa(vr x) {
    __m256 bits = _mm256_and_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32(0x007fffff)));
    return _mm256_or_ps(bits, _mm256_set1_ps(1.0f));
}
static inline vm v_lt(vr a, vr b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
static inline vm v_le(vr a, vr b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
static inline vm v_eq(vr a, vr b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
static inline vm v_and(vm a, vm b) { return _mm256_and_ps(a, b); }
static inline vr v_select(vm m, vr a, vr b) { return _mm256_blendv_ps(b, a, m); }
static inline float v_sum(vr v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
static inline float v_hmax(vr v) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
static inline vr v_swap_pairs(vr a) { return _mm256_permute_ps(a, 0xb1); }
static inline vr v_alternate(float even, float odd) {
    return _mm256_blend_ps(_mm256_set1_ps(even), _mm256_set1_ps(odd), 0xaa);
}
static inline vr v_twice(const float *p, int64_t n) {
    const __m256i from = _mm256_set_epi32(3, 3, 2, 2, 1, 1, 0, 0);
    return _mm256_permutevar8x32_ps(v_loadn(p, n / 2), from);
}
static inline vm v_bits(uint32_t bits) {
    const __m256i lane = _mm256_set_epi32(128, 64, 32, 16, 8, 4, 2, 1);
    const __m256i mine = _mm256_and_si256(_mm256_set1_epi32((int)bits), lane);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(mine, lane));
}
static inline bool v_any(vm m) { return _mm256_movemask_ps(m) != 0; }

/* 8 x 8 in place: pairs, quads, halves. */
static inline __attribute__((always_inline)) void v_transpose(vr *x) {
    __m256 t[8];
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
        x[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44), x[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        x[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44), x[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m256 low = _mm256_permute2f128_ps(x[i], x[i + 4], 0x20), high = _mm256_permute2f128_ps(x[i], x[i + 4], 0x31);
        x[i] = low, x[i + 4] = high;
    }
}

/* A macro: gcc takes a function that only does this for one without effect and drops the calls. */
#define v_prefetch(address) _mm_prefetch((const char *)(address), _MM_HINT_T0)

static inline vr v_load_f16(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
static inline vr v_loadn_f16(const uint16_t *p, int64_t n) {
    uint16_t some[8] = {0};
    if (n > 0) memcpy(some, p, (size_t)(n > 8 ? 8 : n) * sizeof *p);
    return v_load_f16(some);
}
static inline void v_load2_bf16(const uint16_t *p, vr *even, vr *odd) {
    const __m256i x = _mm256_loadu_si256((const __m256i *)p);
    *even = _mm256_castsi256_ps(_mm256_slli_epi32(x, 16));
    *odd = _mm256_castsi256_ps(_mm256_and_si256(x, _mm256_set1_epi32((int)0xffff0000)));
}
static inline void v_loadn2_bf16(const uint16_t *p, int64_t n, vr *even, vr *odd) {
    uint16_t some[16] = {0};
    memcpy(some, p, (size_t)n * sizeof *p);
    v_load2_bf16(some, even, odd);
}

static inline vu u_set(uint32_t x) { return _mm256_set1_epi32((int)x); }
static inline vu u_iota(void) { return _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0); }
static inline vu u_add(vu a, vu b) { return _mm256_add_epi32(a, b); }
static inline vu u_xor3(vu a, vu b, vu c) { return _mm256_xor_si256(_mm256_xor_si256(a, b), c); }
static inline vu u_shl16(vu a) { return _mm256_slli_epi32(a, 16); }
static inline vm u_ge(vu a, vu b) { return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_max_epu32(a, b), a)); }
static inline void u_mul(vu a, uint32_t m, vu *hi, vu *lo) {
    __m256i factor = _mm256_set1_epi64x((long long)m);
    __m256i even = _mm256_mul_epu32(a, factor), odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), factor);
    *hi = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
    *lo = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
}
