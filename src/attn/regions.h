/* Memory of a call, drawn once: a list of regions says both how many bytes a call needs and where each region
 * begins, so that the two cannot differ. Under AddressSanitizer a red zone follows every region; who touches it is
 * told. The memory is open again when the engine is done (fv__regions_open).
 *
 *     static size_t lay_out(const fv_attention_plan *plan, char *memory, job *j) {
 *         fv__regions all = {memory, 0};                              // memory NULL: only counted
 *         j->row = fv__region(&all, fv__attn_lines(plan->k_len, sizeof(float)));
 *         if (plan->packed) j->first = fv__region(&all, fv__attn_lines(plan->sequences + 1, sizeof(int64_t)));
 *         return all.used;
 *     }
 *
 * An engine that lays out its memory for two types and by the job does the same by a list in a file NAME_regions.def:
 * once with a REGION that adds fv__attn_lines, once with a REGION that carves. */
#ifndef FV_ATTN_REGIONS_H
#define FV_ATTN_REGIONS_H

#include <stddef.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
enum { FV_RED_ZONE = 64 };
#else
#define ASAN_POISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
enum { FV_RED_ZONE = 0 };
#endif

typedef struct fv__regions {
    char *memory;
    size_t used;
} fv__regions;

/* `bytes` as fv__attn_lines says, with the red zone. What lay there before, with other red zones, is over. */
static inline void *fv__region_guard(void *at, size_t bytes) {
    if (FV_RED_ZONE) {
        ASAN_UNPOISON_MEMORY_REGION(at, bytes - FV_RED_ZONE);
        ASAN_POISON_MEMORY_REGION((char *)at + bytes - FV_RED_ZONE, FV_RED_ZONE);
    }
    return at;
}

/* NULL when only counting. */
static inline void *fv__region(fv__regions *all, size_t bytes) {
    char *at = all->memory ? all->memory + all->used : NULL;
    all->used += bytes;
    return at ? fv__region_guard(at, bytes) : NULL;
}

/* The memory is the caller's again. */
static inline void fv__regions_open(void *memory, size_t bytes) { ASAN_UNPOISON_MEMORY_REGION(memory, bytes); }

#endif
