/* base: the one point where memory comes from. */
#ifndef FV_BASE_MEMORY_H
#define FV_BASE_MEMORY_H

#include "base/status.h"

/* 64-byte aligned, zero-filled; NULL sets the message (return FV_NO_RESOURCES). A size of 0 gives a valid pointer. */
void *fv__alloc(size_t bytes);
void *fv__alloc_raw(size_t bytes);   /* not zero-filled: for what is written at once */
void *fv__alloc_small(size_t bytes); /* aligned as by malloc, not zero-filled: for very many small things */
void *fv__alloc_array(size_t count, size_t size); /* checks count * size */
void *fv__realloc(void *pointer, size_t old_bytes,
                  size_t new_bytes); /* the old block stays valid on failure; new bytes are zero */
void fv__free(void *pointer);        /* NULL is fine */
char *fv__strdup(const char *text);

/* False on overflow. Use them for every size that comes from outside. */
static inline bool fv__mul_ok(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool fv__add_ok(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }

/* bytes = element * product(dim); false when a dim is negative, the product overflows (zero dims do not hide it), or
 * there are more axes than any array has: a rank may come from a caller. */
enum { FV_MOST_AXES = 6 };
bool fv__size_of(const int64_t *dim, int rank, size_t element, size_t *bytes);

/* Room for `need` items in a growing array: FV_GROW(&items, &capacity, need). Doubles; new items are zero. */
fv_status fv__grow(void **items, size_t *capacity, size_t need, size_t item_size);
#define FV_GROW(items, capacity, need) fv__grow((void **)(items), (capacity), (need), sizeof **(items))

/* Number of allocations since the start (tests assert that it stands still). */
int64_t fv__alloc_count(void);
int64_t fv__alloc_live(void); /* blocks not yet freed (tests assert that none is lost) */

#endif
