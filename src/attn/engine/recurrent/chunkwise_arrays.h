/* The arrays of a worker and the chunk that they hold, for the real type R. See chunkwise.h. */

enum { STRIP = FV_CHUNK_STRIP };

#include "attn/engine/view.h"

typedef struct T(chunk) {
    const SIMD *simd;
    int64_t n, room, chunk; /* tokens of this chunk, of the arrays, of a whole chunk: the halvings begin with that */
    int64_t lanes, d, d_lanes, dv, decays;
    int64_t constant_head, constant_n, constant_live; /* of which constant decays are at hand */
    bool delta;
    R *u, *dg; /* u_delta, or v; dlog_decay, or NULL when nobody wants it */
#define REGION(name, rows, columns, needed) R *name;
#include "attn/engine/recurrent/chunkwise_regions.def"
#undef REGION
} T(chunk);

static inline int64_t T(least)(int64_t a, int64_t b) { return a < b ? a : b; }
