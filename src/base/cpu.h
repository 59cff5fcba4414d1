/* base: what this processor can do, and the clock. */
#ifndef FV_BASE_CPU_H
#define FV_BASE_CPU_H

#include "fovea/base.h"

typedef enum fv__isa { FV_ISA_SCALAR, FV_ISA_AVX2, FV_ISA_AVX512, FV_ISA_NEON, FV_ISAS } fv__isa;
fv__isa fv__cpu_isa(void);             /* best of this cpu, or FOVEA_ISA; decided once */
bool fv__cpu_isa_set(fv__isa isa);     /* from now on; FV_ISAS: decide again. False when this cpu has not got it */
const char *fv__isa_name(fv__isa isa); /* "scalar" ...; NULL from FV_ISAS on */
double fv__now(void);                  /* monotonic seconds */

#endif
