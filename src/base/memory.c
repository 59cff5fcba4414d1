/* The one door to memory: aligned for every vector width, zeroed, counted, and able to fail on request. */
#include "base/memory.h"

#include "base/base.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGNMENT = 64, PAGE = 4096, LARGE = 4 << 20 };

static atomic_int_least64_t allocations, live;

/* A large block in large pages, where the system has them: a long walk through memory then waits less for addresses.
 * A wish only. */
static void wish_large_pages(void *pointer, size_t bytes) {
#ifdef MADV_HUGEPAGE
    const uintptr_t start = ((uintptr_t)pointer + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
    if (bytes >= LARGE)
        (void)madvise((void *)start, ((uintptr_t)pointer + bytes - start) & ~(size_t)(PAGE - 1), MADV_HUGEPAGE);
#else
    (void)pointer, (void)bytes;
#endif
}

/* Asks the system; not zeroed. */
static void *allocate(size_t bytes) {
    void *pointer = NULL;
    bool failed = fv__injected(FV_FAULT_ALLOC) || bytes > PTRDIFF_MAX - ALIGNMENT;
    if (!failed) failed = posix_memalign(&pointer, ALIGNMENT, bytes ? bytes : 1) != 0;
    if (failed) {
        fv__fail(FV_NO_RESOURCES, "out of memory: %zu bytes asked for", bytes);
        return NULL;
    }
    wish_large_pages(pointer, bytes);
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    return pointer;
}

void *fv__alloc_raw(size_t bytes) { return allocate(bytes); }

void *fv__alloc(size_t bytes) {
    void *pointer = allocate(bytes);
    if (pointer) memset(pointer, 0, bytes ? bytes : 1);
    return pointer;
}

void *fv__alloc_small(size_t bytes) {
    void *pointer = fv__injected(FV_FAULT_ALLOC) ? NULL : malloc(bytes ? bytes : 1);
    if (!pointer) {
        fv__fail(FV_NO_RESOURCES, "out of memory: %zu bytes asked for", bytes);
        return NULL;
    }
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    return pointer;
}

void *fv__alloc_array(size_t count, size_t size) {
    size_t bytes;
    if (!fv__mul_ok(count, size, &bytes)) {
        fv__fail(FV_NO_RESOURCES, "out of memory: %zu items of %zu bytes do not fit into any memory", count, size);
        return NULL;
    }
    return fv__alloc(bytes);
}

void *fv__realloc(void *pointer, size_t old_bytes, size_t new_bytes) {
    void *bigger = allocate(new_bytes);
    if (!bigger) return NULL;
    size_t kept = !pointer ? 0 : old_bytes < new_bytes ? old_bytes : new_bytes;
    if (kept) memcpy(bigger, pointer, kept);
    memset((char *)bigger + kept, 0, new_bytes - kept);
    fv__free(pointer);
    return bigger;
}

void fv__free(void *pointer) {
    if (!pointer) return;
    atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    free(pointer);
}

char *fv__strdup(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = fv__alloc(size);
    if (copy) memcpy(copy, text, size);
    return copy;
}

bool fv__size_of(const int64_t *dim, int rank, size_t element, size_t *bytes) {
    /* A zero dimension must not hide an overflow of the others: a later change of that one dimension would meet it. */
    size_t product = element;
    bool empty = element == 0;
    if (rank < 0 || rank > FV_MOST_AXES) return false;
    for (int i = 0; i < rank; i++) {
        if (dim[i] < 0) return false;
        if (dim[i] == 0)
            empty = true;
        else if (!fv__mul_ok(product, (size_t)dim[i], &product))
            return false;
    }
    if (product > PTRDIFF_MAX) return false;
    *bytes = empty ? 0 : product;
    return true;
}

fv_status fv__grow(void **items, size_t *capacity, size_t need, size_t item_size) {
    if (need <= *capacity) return FV_OK;
    size_t more = *capacity ? *capacity : 8, old_bytes, bytes;
    while (more < need)
        if (!fv__mul_ok(more, 2, &more)) more = need;
    if (!fv__mul_ok(more, item_size, &bytes) || !fv__mul_ok(*capacity, item_size, &old_bytes))
        return fv__fail(FV_NO_RESOURCES, "out of memory: %zu items of %zu bytes do not fit into any memory", need,
                        item_size);
    void *bigger = fv__realloc(*items, old_bytes, bytes);
    if (!bigger) return FV_NO_RESOURCES;
    *items = bigger;
    *capacity = more;
    return FV_OK;
}

int64_t fv__alloc_count(void) { return atomic_load(&allocations); }

int64_t fv__alloc_live(void) { return atomic_load(&live); }
