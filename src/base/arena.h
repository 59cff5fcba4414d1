/* base: blocks that live until a reset. */
#ifndef FV_BASE_ARENA_H
#define FV_BASE_ARENA_H

#include "base/status.h"

/* An arena hands out 64-byte aligned zeroed blocks that live until the reset; a reset keeps its memory, so a loop
 * that asks for the same sizes every time allocates only in its first round. */
typedef struct fv__arena fv__arena;
fv_status fv__arena_create(fv__arena **arena);
void *fv__arena_alloc(fv__arena *arena, size_t bytes); /* NULL sets the message */
void *fv__arena_raw(fv__arena *arena, size_t bytes);   /* the same, not zeroed */
void fv__arena_reset(fv__arena *arena);
size_t fv__arena_peak(const fv__arena *arena); /* bytes */
void fv__arena_free(fv__arena *arena);

#endif
