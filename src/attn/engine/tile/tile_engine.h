/* The engine for one type, and the table tile.c chooses it from. */
#include "attn/engine/view.h"
#include "attn/engine/tile/tile_job.h"
#include "attn/engine/tile/tile_forward.h"
#include "attn/engine/tile/tile_norm.h"
#include "attn/engine/tile/tile_backward.h"
#include "attn/engine/tile/tile_weights.h"
#include "attn/engine/tile/tile_statistics.h"

const fv__tile_kernels T(kernels) = {T(forward), T(backward), T(weights), T(statistics)};
