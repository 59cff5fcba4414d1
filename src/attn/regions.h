/* Memory of a call, drawn once: one function lists the regions of an engine. Run without memory it says how many bytes
 * they take, run with it where each begins, so that the two cannot differ. Under AddressSanitizer there is a red zone
 * behind every region, which nobody may touch; it is open again after the call (fv__regions_open).
 *
 *     static size_t lay_out(const fv_attention_plan *plan, char *memory, job *j) {
 *         fv__regions all = {memory, 0};
 *         REGION(&all, j->row, float, plan->k_len);
 *         if (plan->packed) REGION(&all, j->first, int64_t, plan->sequences + 1);
 *         return all.used;
 *     }
 */
#ifndef FV_ATTN_REGIONS_H
#define FV_ATTN_REGIONS_H

#include "attn/mechanism_contract.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
enum { FV_RED_ZONE = 64 };
#else
#define ASAN_POISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
enum { FV_RED_ZONE = 0 };
#endif

typedef struct fv__regions {
    char *memory; /* NULL: only counted */
    size_t used;
} fv__regions;

/* `bytes` are whole lines of 64; NULL when only counting. */
static inline void *fv__region(fv__regions *all, size_t bytes) {
    char *at = all->memory ? all->memory + all->used : NULL;
    all->used += bytes + FV_RED_ZONE;
    if (at) ASAN_POISON_MEMORY_REGION(at + bytes, FV_RED_ZONE);
    return at;
}

#define REGION(all, pointer, type, count) ((pointer) = fv__region((all), fv__attn_lines((count), sizeof(type))))

/* The memory is the caller's again. */
static inline void fv__regions_open(void *memory, size_t bytes) { ASAN_UNPOISON_MEMORY_REGION(memory, bytes); }

#endif
