/* The vector vocabulary on one element: the meaning of every operation, and the portable table. Macros, so that one
 * file can be compiled with R float and with R double. */
#include <math.h>
#include <string.h>

#define VL 1
#define vr R
#define vm bool
#define vu uint32_t

#define v_load(p) (*(p))
#define v_store(p, v) (*(p) = (v))
#define v_loadn(p, n) ((n) > 0 ? *(p) : (R)0)
#define v_storen(p, v, n) ((n) > 0 ? (void)(*(p) = (v)) : (void)0)
#define v_set(x) ((R)(x))
/* The value at p in every lane. Volatile: gcc 12 joins two such loads with those of the next row and reads past the
 * last one. */
#define v_one(p) (*(const volatile R *)(p))
#define v_iota() ((R)0)
#define v_add(a, b) ((a) + (b))
#define v_sub(a, b) ((a) - (b))
#define v_mul(a, b) ((a) * (b))
#define v_div(a, b) ((a) / (b))
/* a b + c and c - a b. Fused wherever there is an instruction for it: left to the compiler, copies of a loop could
 * differ in bits. */
#if defined(FP_FAST_FMAF) && defined(FP_FAST_FMA)
#define v_fma(a, b, c) ((R)(sizeof(R) == 4 ? fmaf((float)(a), (float)(b), (float)(c)) : fma(a, b, c)))
#define v_fnma(a, b, c) v_fma(-(a), b, c)
#else
#define v_fma(a, b, c) ((a) * (b) + (c))
#define v_fnma(a, b, c) ((c) - (a) * (b))
#endif
#define v_max(a, b) ((a) > (b) ? (a) : (b)) /* b when either is NaN */
#define v_min(a, b) ((a) < (b) ? (a) : (b)) /* b when either is NaN */
#define v_sqrt(a) ((R)(sizeof(R) == 4 ? sqrtf((float)(a)) : sqrt((double)(a))))
#define v_abs(a) ((R)(sizeof(R) == 4 ? fabsf((float)(a)) : fabs((double)(a))))
#define v_sign_of(a, s) ((R)(sizeof(R) == 4 ? copysignf((float)(a), (float)(s)) : copysign((double)(a), (double)(s))))
#define v_round(a) ((R)(sizeof(R) == 4 ? rintf((float)(a)) : rint((double)(a))))
#define v_square_rest(a, aa) \
    ((R)(sizeof(R) == 4 ? fmaf((float)(a), (float)(a), -(float)(aa)) : fma(a, a, -(double)(aa))))
#define v_ldexp(p, n) ((R)(sizeof(R) == 4 ? ldexpf((float)(p), (int)(n)) : ldexp((double)(p), (int)(n))))
#define v_exponent(x) ((R)ilogb((double)(x)))                           /* of a positive normal number */
#define v_mantissa(x) ((R)((double)(x) / ldexp(1, ilogb((double)(x))))) /* in [1, 2) */
#define v_lt(a, b) ((a) < (b))
#define v_le(a, b) ((a) <= (b))
#define v_eq(a, b) ((a) == (b))
#define v_and(a, b) ((a) && (b))
#define v_select(m, a, b) ((m) ? (a) : (b))
#define v_bits(bits) ((bits)&1) /* lane i is bit i */
#define v_sum(v) (v)
#define v_hmax(v) (v)
#define v_any(m) (m)
#define v_transpose(x) ((void)0)
/* Of pairs of lanes; a vector of one has none, so a kernel needs another way there. */
#define v_swap_pairs(a) (a)                /* elements 2i and 2i+1 change places */
#define v_alternate(even, odd) ((R)(even)) /* even odd even odd ... */
#define v_twice(p, n) ((void)(n), *(p))    /* p[0] p[0] p[1] p[1] ..., n of them */
#define v_prefetch(address) ((void)(address))

/* stored numbers widened: VL of f16, or the first n, then zeros; 2 VL of bf16, even and odd ones apart, which costs one
 * operation each */
#define v_load_f16(p) K(of_half)(*(p))
#define v_loadn_f16(p, n) ((n) > 0 ? K(of_half)(*(p)) : 0)
#define v_load2_bf16(p, even, odd) (*(even) = K(of_brain)((p)[0]), *(odd) = K(of_brain)((p)[1]))
#define v_loadn2_bf16(p, n, even, odd) (*(even) = K(of_brain)((p)[0]), *(odd) = (n) > 1 ? K(of_brain)((p)[1]) : 0)

#define u_set(x) ((uint32_t)(x))
#define u_iota() 0u
#define u_add(a, b) ((a) + (b))
#define u_xor3(a, b, c) ((a) ^ (b) ^ (c))
#define u_shl16(a) ((a) << 16)
#define u_ge(a, b) ((a) >= (b)) /* unsigned; a mask for R */
#define u_mul(a, m, hi, lo)                                             \
    do {                                                                \
        uint64_t product_ = (uint64_t)(a) * (m);                        \
        *(hi) = (uint32_t)(product_ >> 32), *(lo) = (uint32_t)product_; \
    } while (0)
