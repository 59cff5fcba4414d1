/* Which table of kernels runs on this machine. Compiled with baseline flags. */
#include "simd/simd.h"
#include "simd/isa.h"

#include <stdatomic.h>
#include <string.h>

const fv__simd_f32 *fv__simd_f32_of(fv__isa isa) {
    if (isa == FV_ISA_SCALAR) return fv__simd_scalar.f32;
#if defined(__x86_64__)
    if (isa == FV_ISA_AVX2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &fv__simd_avx2;
    if (isa == FV_ISA_AVX512 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        return &fv__simd_avx512;
#elif defined(__aarch64__)
    if (isa == FV_ISA_NEON) return &fv__simd_neon;
#endif
    return NULL;
}

static _Atomic(const fv__simd_f32 *) in_use;

bool fv__simd_use(fv__isa isa) {
    const fv__simd_f32 *table = fv__simd_f32_of(isa == FV_ISAS ? fv__cpu_isa() : isa);
    if (table) atomic_store(&in_use, table);
    return table != NULL;
}

const fv__simd_f32 *fv__simd_f32_now(void) {
    const fv__simd_f32 *table = atomic_load_explicit(&in_use, memory_order_acquire);
    if (table) return table;
    table = fv__simd_f32_of(fv__cpu_isa());
    if (!table) table = fv__simd_scalar.f32;
    atomic_store(&in_use, table);
    return table;
}

fv_status fv_set_isa(const char *name) {
    int isa = name ? 0 : FV_ISAS;
    while (name && isa < FV_ISAS && strcmp(name, fv__isa_name((fv__isa)isa))) isa++;
    if (name && isa == FV_ISAS)
        return fv__fail(FV_USAGE, "unknown instruction set\n  expected scalar, avx2, avx512 or neon\n  found:   \"%s\"",
                        name);
    if (!fv__cpu_isa_set((fv__isa)isa) || !fv__simd_use((fv__isa)isa))
        return fv__fail(FV_USAGE, "instruction set\n  expected one that this machine has\n  found:   \"%s\"", name);
    return FV_OK;
}

const fv__simd_f64 *fv__simd_f64_now(void) { return fv__simd_scalar.f64; }
