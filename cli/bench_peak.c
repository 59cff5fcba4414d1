/* The highest rate of multiply-adds this core reaches: independent chains in registers and nothing else. Written with
 * the compiler's vectors, once for each width; the target attribute picks the instructions. */
#include "bench.h"
#include "console.h"

#include <string.h>

enum { CHAINS = 12, ROUNDS = 20000 };
static volatile double sink;

#define DEFINE_PEAK(NAME, TARGET, TYPE, BYTES)                                                        \
    TARGET static double NAME(void) {                                                                 \
        typedef TYPE vec __attribute__((vector_size(BYTES)));                                         \
        vec a[CHAINS], m, c;                                                                          \
        for (int i = 0; i < (int)(BYTES / sizeof(TYPE)); i++) m[i] = (TYPE)0.999, c[i] = (TYPE)0.001; \
        for (int k = 0; k < CHAINS; k++) a[k] = c;                                                    \
        double start = cli_now();                                                                     \
        for (int i = 0; i < ROUNDS; i++)                                                              \
            _Pragma("GCC unroll 12") for (int k = 0; k < CHAINS; k++) a[k] = a[k] * m + c;            \
        double seconds = cli_now() - start, sum = 0;                                                  \
        for (int k = 0; k < CHAINS; k++) sum += (double)a[k][0];                                      \
        sink = sum;                                                                                   \
        return 2.0 * CHAINS * ROUNDS * (double)(BYTES / sizeof(TYPE)) / seconds;                      \
    }

DEFINE_PEAK(base_f32, , float, 16)
DEFINE_PEAK(base_f64, , double, 16)
#if defined(__x86_64__)
DEFINE_PEAK(avx2_f32, __attribute__((target("avx2,fma"))), float, 32)
DEFINE_PEAK(avx2_f64, __attribute__((target("avx2,fma"))), double, 32)
DEFINE_PEAK(avx512_f32, __attribute__((target("avx512f"))), float, 64)
DEFINE_PEAK(avx512_f64, __attribute__((target("avx512f"))), double, 64)
#endif

double cli_peak_flops(const char *isa, fv_dtype dtype) {
    double (*measure)(void) = dtype == FV_F64 ? base_f64 : base_f32, best = 0;
#if defined(__x86_64__)
    if (strcmp(isa, "avx2") == 0) measure = dtype == FV_F64 ? avx2_f64 : avx2_f32;
    if (strcmp(isa, "avx512") == 0) measure = dtype == FV_F64 ? avx512_f64 : avx512_f32;
#endif
    (void)isa;
    for (int i = 0; i < 60; i++) {
        double now = measure();
        if (now > best) best = now;
    }
    return best;
}
