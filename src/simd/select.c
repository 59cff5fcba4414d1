/* Which table runs here, and the plain definition of dropout. Compiled with baseline flags. */
#include "simd/simd.h"
#include "simd/isa.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

const fv__simd_f32 *fv__simd_f32_of(fv__isa isa) {
    if (isa == FV_ISA_SCALAR) return fv__simd_scalar.f32;
#if defined(__x86_64__)
    if (isa == FV_ISA_AVX2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &fv__simd_avx2;
    if (isa == FV_ISA_AVX512 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        return &fv__simd_avx512;
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
    static const char *const names[] = {"scalar", "avx2", "avx512"};
    int isa = name ? 0 : FV_ISAS;
    while (name && isa < FV_ISAS && strcmp(name, names[isa])) isa++;
    if (name && isa == FV_ISAS)
        return fv__fail(FV_USAGE, "instruction set \"%s\"\n  expected scalar, avx2 or avx512", name);
    if (!fv__cpu_isa_set((fv__isa)isa) || !fv__simd_use((fv__isa)isa))
        return fv__fail(FV_USAGE, "instruction set \"%s\": not on this machine", name);
    return FV_OK;
}

const fv__simd_f64 *fv__simd_f64_now(void) { return fv__simd_scalar.f64; }

fv__drop fv__drop_of(double rate, uint64_t seed, uint64_t stream) {
    fv__drop drop = {seed, stream, 0, 1};
    if (!(rate > 0)) return drop;
    double steps = rint(rate * 65536);
    drop.threshold = steps < 1 ? 1 : steps > 65535 ? 65535 : (uint32_t)steps;
    drop.scale = 65536.0 / (65536.0 - drop.threshold);
    return drop;
}

static bool keeps(const fv__drop *drop, fv__u32x4 counter, int word, int high) {
    uint32_t bits = fv__philox(counter, (uint32_t)drop->seed, (uint32_t)(drop->seed >> 32)).v[word];
    return (high ? bits >> 16 : bits & 0xffff) >= drop->threshold;
}

bool fv__drop_keeps(const fv__drop *drop, uint64_t element) {
    uint64_t lane = element / 128 * 16 + element % 16;
    int within = (int)(element % 128);
    fv__u32x4 counter = {
        {(uint32_t)lane, (uint32_t)(lane >> 32), (uint32_t)drop->stream, (uint32_t)(drop->stream >> 32)}};
    return keeps(drop, counter, within / 32, within / 16 % 2);
}

bool fv__drop_keeps_at(const fv__drop *drop, int64_t i, int64_t j) {
    fv__u32x4 counter = {{(uint32_t)(i / 32 * 16 + i % 16), (uint32_t)(j / 64 * 16 + j % 16), (uint32_t)drop->stream,
                          (uint32_t)(drop->stream >> 32)}};
    return keeps(drop, counter, (int)(j / 16 % 4), (int)(i / 16 % 2));
}
