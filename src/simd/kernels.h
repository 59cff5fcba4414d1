/* All kernels for one vocabulary and one real type; the includer defines R, K(name), FV_REAL_IS_DOUBLE and includes a
 * vec_*.h. */
#include "simd/vec_math.h"
#include "simd/kernels_array.h"
#include "simd/kernels_row.h"
#include "simd/kernels_train.h"
#include "simd/kernels_gemm.h"
#include "simd/kernels_rope.h"
#include "simd/kernels_tile.h"
#include "simd/kernels_statistics.h"
#if !FV_REAL_IS_DOUBLE
#include "simd/kernels_decode.h"
#endif
