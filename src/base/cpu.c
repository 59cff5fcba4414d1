/* Which vector instructions the kernels use: the best of this cpu, or what FOVEA_ISA asks for. */
#include "base/cpu.h"

#include "base/base.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const char *const isa_names[] = {"scalar", "avx2", "avx512", "neon"};

static bool supported(fv__isa isa) {
    if (isa == FV_ISA_SCALAR) return true;
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (isa == FV_ISA_AVX2) return avx2;
    return isa == FV_ISA_AVX512 && avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#elif defined(__aarch64__)
    return isa == FV_ISA_NEON; /* part of every AArch64 */
#else
    return false;
#endif
}

static fv__isa choose(void) {
    fv__isa best = FV_ISA_SCALAR;
    for (int i = 0; i < FV_ISAS; i++)
        if (supported((fv__isa)i)) best = (fv__isa)i;
    const char *asked = getenv("FOVEA_ISA");
    if (!asked || !*asked) return best;
    for (int i = 0; i < FV_ISAS; i++) {
        if (strcmp(asked, isa_names[i])) continue;
        if (supported((fv__isa)i)) return (fv__isa)i;
        fv__log(FV_LOG_WARN, "FOVEA_ISA=%s: this cpu does not have it; using %s", asked, isa_names[best]);
        return best;
    }
    fv__log(FV_LOG_WARN, "FOVEA_ISA=%s: expected scalar, avx2, avx512 or neon; using %s", asked, isa_names[best]);
    return best;
}

static atomic_int decided = -1;

bool fv__cpu_isa_set(fv__isa isa) {
    if (isa != FV_ISAS && !supported(isa)) return false;
    atomic_store(&decided, isa == FV_ISAS ? (int)choose() : (int)isa);
    return true;
}

fv__isa fv__cpu_isa(void) {
    int isa = atomic_load_explicit(&decided, memory_order_acquire);
    if (isa < 0) {
        int none = -1;
        isa = (int)choose();
        if (!atomic_compare_exchange_strong(&decided, &none, isa)) isa = none; /* another thread was first */
    }
    return (fv__isa)isa;
}

const char *fv__isa_name(fv__isa isa) { return isa < FV_ISAS ? isa_names[isa] : NULL; }
const char *fv_isa(void) { return isa_names[fv__cpu_isa()]; }
