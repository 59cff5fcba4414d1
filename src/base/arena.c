/* An arena: a chain of blocks that are filled from the front and emptied all at once. A reset keeps the blocks, so
 * a training step that asks for the same sizes again takes nothing new from the system. */
#include "base/arena.h"

#include "base/base.h"

#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define FV_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FV_ASAN 1
#endif
#endif
#ifdef FV_ASAN
#include <sanitizer/asan_interface.h>
#define HIDE(pointer, bytes) __asan_poison_memory_region(pointer, bytes)
#define SHOW(pointer, bytes) __asan_unpoison_memory_region(pointer, bytes)
#else
#define HIDE(pointer, bytes) ((void)(pointer), (void)(bytes))
#define SHOW(pointer, bytes) ((void)(pointer), (void)(bytes))
#endif

enum { ALIGNMENT = 64, FIRST_BLOCK = 64 * 1024 };

typedef struct block {
    struct block *next;
    char *bytes;
    size_t size, used;
} block;

struct fv__arena {
    block *first, *current;
    size_t reserved; /* sum of block sizes */
    size_t in_use, peak;
};

fv_status fv__arena_create(fv__arena **arena) {
    *arena = fv__alloc(sizeof **arena);
    return *arena ? FV_OK : FV_NO_RESOURCES;
}

/* Blocks double the arena, so there are few of them and later ones are large. */
static block *add_block(fv__arena *arena, size_t need) {
    size_t size = arena->reserved > FIRST_BLOCK ? arena->reserved : FIRST_BLOCK;
    if (size < need) size = need;
    block *b = fv__alloc(sizeof *b);
    char *bytes = b ? fv__alloc(size) : NULL;
    if (!bytes) {
        fv__free(b);
        return NULL;
    }
    *b = (block){.bytes = bytes, .size = size};
    HIDE(bytes, size);
    block **end = &arena->first;
    while (*end) end = &(*end)->next;
    *end = b;
    arena->reserved += size;
    return b;
}

/* The next block from the current one on that has room. Blocks passed over rest until the reset. */
static block *block_for(fv__arena *arena, size_t need) {
    block *b = arena->current ? arena->current : arena->first;
    while (b && b->size - b->used < need) b = b->next;
    return b ? b : add_block(arena, need);
}

void *fv__arena_raw(fv__arena *arena, size_t bytes) {
    size_t need;
    if (!fv__add_ok(bytes ? bytes : 1, ALIGNMENT - 1, &need)) {
        fv__fail(FV_NO_RESOURCES, "out of memory: %zu bytes asked for", bytes);
        return NULL;
    }
    need &= ~(size_t)(ALIGNMENT - 1);
    block *b = block_for(arena, need);
    if (!b) return NULL;
    char *pointer = b->bytes + b->used;
    b->used += need;
    arena->current = b;
    arena->in_use += need;
    if (arena->in_use > arena->peak) arena->peak = arena->in_use;
    SHOW(pointer, bytes);
    return pointer;
}

void *fv__arena_alloc(fv__arena *arena, size_t bytes) {
    void *pointer = fv__arena_raw(arena, bytes);
    if (pointer) memset(pointer, 0, bytes);
    return pointer;
}

void fv__arena_reset(fv__arena *arena) {
    for (block *b = arena->first; b; b = b->next) {
        b->used = 0;
        HIDE(b->bytes, b->size);
    }
    arena->current = NULL;
    arena->in_use = 0;
}

size_t fv__arena_peak(const fv__arena *arena) { return arena->peak; }

void fv__arena_free(fv__arena *arena) {
    if (!arena) return;
    for (block *b = arena->first, *next; b; b = next) {
        next = b->next;
        SHOW(b->bytes, b->size);
        fv__free(b->bytes);
        fv__free(b);
    }
    fv__free(arena);
}
