/* The lines of tests/bits/record that say where it ran. */
#ifndef FV_TESTS_BITS_MACHINE_H
#define FV_TESTS_BITS_MACHINE_H

#include <stdio.h>

/* What the bits depend on beside the sources: the compiler, and for f64 the exp, log, tanh and cos of the C library,
 * which chooses by processor whether they use fused multiply-adds. */
static void print_machine(void) {
#if defined(__clang__)
    printf("# compiler clang %d\n", __clang_major__);
#else
    printf("# compiler gcc %d.%d\n", __GNUC__, __GNUC_MINOR__);
#endif
#if defined(__GLIBC__)
    printf("# libm glibc %d.%d", __GLIBC__, __GLIBC_MINOR__);
#else
    printf("# libm unknown");
#endif
#if defined(__x86_64__)
    printf(" x86_64%s\n", __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2") ? " fma" : "");
#else
    printf(" other\n");
#endif
}

#endif
