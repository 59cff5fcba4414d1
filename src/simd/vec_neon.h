/* The vector vocabulary of NEON (Advanced SIMD of AArch64). Meanings: vec_scalar.h. */
#include <arm_neon.h>
#include <math.h>
#include <string.h>

#define VL 4
typedef float32x4_t vr;
typedef uint32x4_t vm;
typedef uint32x4_t vu;

static inline vr v_load(const float *p) { return vld1q_f32(p); }
static inline void v_store(float *p, vr v) { vst1q_f32(p, v); }
/* NEON has no masked loads and stores: one, two, or two and one elements. */
static inline vr v_loadn(const float *p, int64_t n) {
    const float32x2_t zero = vdup_n_f32(0);
    if (n >= 4) return vld1q_f32(p);
    if (n == 3) return vcombine_f32(vld1_f32(p), vld1_lane_f32(p + 2, zero, 0));
    if (n == 2) return vcombine_f32(vld1_f32(p), zero);
    return vcombine_f32(n == 1 ? vld1_lane_f32(p, zero, 0) : zero, zero);
}
static inline void v_storen(float *p, vr v, int64_t n) {
    if (n >= 4) {
        vst1q_f32(p, v);
        return;
    }
    if (n >= 2) vst1_f32(p, vget_low_f32(v));
    if (n == 3) vst1q_lane_f32(p + 2, v, 2);
    if (n == 1) vst1q_lane_f32(p, v, 0);
}
static inline vr v_set(float x) { return vdupq_n_f32(x); }
static inline vr v_one(const float *p) { return vld1q_dup_f32(p); }
static inline vu u_iota(void) {
    static const uint32_t lane[4] = {0, 1, 2, 3};
    return vld1q_u32(lane);
}
static inline vr v_iota(void) { return vcvtq_f32_u32(u_iota()); }
static inline vr v_add(vr a, vr b) { return vaddq_f32(a, b); }
static inline vr v_sub(vr a, vr b) { return vsubq_f32(a, b); }
static inline vr v_mul(vr a, vr b) { return vmulq_f32(a, b); }
static inline vr v_div(vr a, vr b) { return vdivq_f32(a, b); }
static inline vr v_fma(vr a, vr b, vr c) { return vfmaq_f32(c, a, b); }
static inline vr v_fnma(vr a, vr b, vr c) { return vfmsq_f32(c, a, b); }
/* FMAX and FMAXNM both treat NaN in another way than the vocabulary, so a comparison chooses. */
static inline vr v_max(vr a, vr b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
static inline vr v_min(vr a, vr b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
static inline vr v_sqrt(vr a) { return vsqrtq_f32(a); }
static inline vr v_abs(vr a) { return vabsq_f32(a); }
static inline vr v_sign_of(vr a, vr s) { return vbslq_f32(vdupq_n_u32(0x80000000u), s, a); }
static inline vr v_round(vr a) { return vrndnq_f32(a); }
static inline vr v_square_rest(vr a, vr aa) { return vfmaq_f32(vnegq_f32(aa), a, a); }
/* Two steps, so that results below 2^-126 and above 2^127 are right; n within +-250. */
static inline vr v_ldexp(vr p, vr n) {
    const int32x4_t whole = vcvtq_s32_f32(n), half = vshrq_n_s32(whole, 1), rest = vsubq_s32(whole, half);
    const int32x4_t bias = vdupq_n_s32(127);
    const vr a = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
    const vr b = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, bias), 23));
    return vmulq_f32(vmulq_f32(p, a), b);
}
static inline vr v_exponent(vr x) {
    const int32x4_t biased = vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_f32(x), 23));
    return vcvtq_f32_s32(vsubq_s32(biased, vdupq_n_s32(127)));
}
static inline vr v_mantissa(vr x) { return vbslq_f32(vdupq_n_u32(0x007fffffu), x, vdupq_n_f32(1)); }
static inline vm v_lt(vr a, vr b) { return vcltq_f32(a, b); }
static inline vm v_le(vr a, vr b) { return vcleq_f32(a, b); }
static inline vm v_eq(vr a, vr b) { return vceqq_f32(a, b); }
static inline vm v_and(vm a, vm b) { return vandq_u32(a, b); }
static inline vr v_select(vm m, vr a, vr b) { return vbslq_f32(m, a, b); }
static inline float v_sum(vr v) { return vaddvq_f32(v); }
static inline float v_hmax(vr v) { return vmaxvq_f32(v); }
static inline vr v_swap_pairs(vr a) { return vrev64q_f32(a); }
static inline vr v_alternate(float even, float odd) { return vzip1q_f32(vdupq_n_f32(even), vdupq_n_f32(odd)); }
static inline vr v_twice(const float *p, int64_t n) {
    const vr x = v_loadn(p, n / 2);
    return vzip1q_f32(x, x);
}
static inline vm v_bits(uint32_t bits) {
    static const uint32_t lane[4] = {1, 2, 4, 8};
    return vtstq_u32(vdupq_n_u32(bits), vld1q_u32(lane));
}
static inline bool v_any(vm m) { return vmaxvq_u32(m) != 0; }

/* 4 x 4 in place: rows two apart are interleaved, then those again. */
static inline __attribute__((always_inline)) void v_transpose(vr *x) {
    const vr a = vzip1q_f32(x[0], x[2]), b = vzip2q_f32(x[0], x[2]);
    const vr c = vzip1q_f32(x[1], x[3]), d = vzip2q_f32(x[1], x[3]);
    x[0] = vzip1q_f32(a, c), x[1] = vzip2q_f32(a, c);
    x[2] = vzip1q_f32(b, d), x[3] = vzip2q_f32(b, d);
}

#define v_prefetch(address) __builtin_prefetch((const char *)(address)) /* a macro: see vec_avx2.h */

static inline vr v_load_f16(const uint16_t *p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
static inline vr v_loadn_f16(const uint16_t *p, int64_t n) {
    uint16_t some[4] = {0};
    if (n > 0) memcpy(some, p, (size_t)(n > 4 ? 4 : n) * sizeof *p);
    return v_load_f16(some);
}
static inline void v_load2_bf16(const uint16_t *p, vr *even, vr *odd) {
    const uint32x4_t x = vreinterpretq_u32_u16(vld1q_u16(p));
    *even = vreinterpretq_f32_u32(vshlq_n_u32(x, 16));
    *odd = vreinterpretq_f32_u32(vandq_u32(x, vdupq_n_u32(0xffff0000u)));
}
static inline void v_loadn2_bf16(const uint16_t *p, int64_t n, vr *even, vr *odd) {
    uint16_t some[8] = {0};
    memcpy(some, p, (size_t)n * sizeof *p);
    v_load2_bf16(some, even, odd);
}

static inline vu u_set(uint32_t x) { return vdupq_n_u32(x); }
static inline vu u_add(vu a, vu b) { return vaddq_u32(a, b); }
static inline vu u_xor3(vu a, vu b, vu c) { return veorq_u32(veorq_u32(a, b), c); }
static inline vu u_shl16(vu a) { return vshlq_n_u32(a, 16); }
static inline vm u_ge(vu a, vu b) { return vcgeq_u32(a, b); }
static inline void u_mul(vu a, uint32_t m, vu *hi, vu *lo) {
    const uint64x2_t low = vmull_n_u32(vget_low_u32(a), m), high = vmull_high_n_u32(a, m);
    *hi = vcombine_u32(vshrn_n_u64(low, 32), vshrn_n_u64(high, 32));
    *lo = vcombine_u32(vmovn_u64(low), vmovn_u64(high));
}
