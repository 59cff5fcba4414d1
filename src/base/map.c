/* A hash map from byte strings to int64 that remembers the order of insertion: vocabularies, name lookups, counts.
 * Entries lie in an array in that order; a table of slots (open addressing, linear probing) points into it. Keys are
 * copied into pages that never move, so a key pointer stays valid as long as the map.
 *
 * Keys come from files, and the quick hash is known to everybody: labels can be made that all meet in one slot. A
 * search that is longer than chance allows changes the map to a hash with a secret key, once. Order and values never
 * depend on it. */
#include "base/map.h"

#include "base/base.h"

#include <string.h>
#include <unistd.h>

enum { PAGE = 32 * 1024 };
/* At most half of the slots are taken: among 2^30 honest keys the longest search is about 110 slots. */
enum { LONGEST_SEARCH = 256 };

typedef struct entry {
    const char *key;
    size_t length;
    uint64_t hash;
    int64_t value;
} entry;

typedef struct page {
    struct page *next;
    char bytes[];
} page;

struct fv__map {
    entry *entries;
    size_t size, capacity;
    uint32_t *slots; /* index of the entry + 1; 0 is empty */
    size_t slot_count;
    bool keyed; /* the hash is fv__hash_keyed with the secret */
    uint64_t secret[2];
    page *pages;
    char *free_bytes;
    size_t free_size;
};

fv_status fv__map_create(fv__map **map) {
    *map = fv__alloc(sizeof **map);
    return *map ? FV_OK : FV_NO_RESOURCES;
}

static uint64_t hash_of(const fv__map *map, const char *key, size_t length) {
    return map->keyed ? fv__hash_keyed(key, length, map->secret) : fv__hash(key, length, 0);
}

/* The slot of this key, or the empty slot where it belongs. */
static uint32_t *slot_of(const fv__map *map, const char *key, size_t length, uint64_t hash) {
    size_t mask = map->slot_count - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        uint32_t *slot = &map->slots[i];
        if (!*slot) return slot;
        const entry *e = &map->entries[*slot - 1];
        if (e->hash == hash && e->length == length && !memcmp(e->key, key, length)) return slot;
    }
}

static void fill_slots(fv__map *map) {
    for (size_t i = 0; i < map->size; i++) {
        const entry *e = &map->entries[i];
        *slot_of(map, e->key, e->length, e->hash) = (uint32_t)(i + 1);
    }
}

/* Without a source of secrets the map stays as it is: slow, and right. */
static void take_secret(fv__map *map) {
    if (getentropy(map->secret, sizeof map->secret)) return;
    map->keyed = true;
    memset(map->slots, 0, map->slot_count * sizeof *map->slots);
    for (size_t i = 0; i < map->size; i++)
        map->entries[i].hash = hash_of(map, map->entries[i].key, map->entries[i].length);
    fill_slots(map);
}

static bool is_long_search(const fv__map *map, const uint32_t *slot, uint64_t hash) {
    size_t mask = map->slot_count - 1, at = (size_t)(slot - map->slots);
    return ((at - hash) & mask) > LONGEST_SEARCH;
}

/* At most half of the slots are taken, so a search is short. */
static fv_status grow_slots(fv__map *map) {
    if (map->size >= UINT32_MAX / 4) return fv__fail(FV_NO_RESOURCES, "a table of names has more than 2^30 entries");
    size_t count = map->slot_count ? map->slot_count * 2 : 16;
    uint32_t *slots = fv__alloc_array(count, sizeof *slots);
    if (!slots) return FV_NO_RESOURCES;
    fv__free(map->slots);
    map->slots = slots;
    map->slot_count = count;
    fill_slots(map);
    return FV_OK;
}

/* A copy of the key with a NUL behind it, NULL when memory is out. */
static const char *keep(fv__map *map, const char *key, size_t length) {
    size_t need, bytes;
    if (!fv__add_ok(length, 1, &need)) return NULL;
    if (need > map->free_size) {
        size_t room = need > PAGE ? need : PAGE;
        if (!fv__add_ok(room, sizeof(page), &bytes)) return NULL;
        page *p = fv__alloc(bytes);
        if (!p) return NULL;
        p->next = map->pages;
        map->pages = p;
        map->free_bytes = p->bytes;
        map->free_size = room;
    }
    char *copy = map->free_bytes;
    if (length) memcpy(copy, key, length);
    copy[length] = '\0';
    map->free_bytes += need;
    map->free_size -= need;
    return copy;
}

/* The entry of `key`, added with value 0 when missing. */
static fv_status entry_of(fv__map *map, const char *key, size_t length, entry **found) {
    if ((map->size + 1) * 2 > map->slot_count) FV_TRY(grow_slots(map));
    FV_TRY(FV_GROW(&map->entries, &map->capacity, map->size + 1));
    uint64_t hash = hash_of(map, key, length);
    uint32_t *slot = slot_of(map, key, length, hash);
    if (!map->keyed && is_long_search(map, slot, hash)) {
        take_secret(map);
        hash = hash_of(map, key, length);
        slot = slot_of(map, key, length, hash);
    }
    if (!*slot) {
        const char *copy = keep(map, key, length);
        if (!copy) return FV_NO_RESOURCES;
        map->entries[map->size] = (entry){copy, length, hash, 0};
        *slot = (uint32_t)++map->size;
    }
    *found = &map->entries[*slot - 1];
    return FV_OK;
}

int64_t fv__map_get(const fv__map *map, const char *key, size_t length, int64_t missing) {
    if (!map->slot_count) return missing;
    uint32_t slot = *slot_of(map, key, length, hash_of(map, key, length));
    return slot ? map->entries[slot - 1].value : missing;
}

fv_status fv__map_set(fv__map *map, const char *key, size_t length, int64_t value) {
    entry *e;
    FV_TRY(entry_of(map, key, length, &e));
    e->value = value;
    return FV_OK;
}

fv_status fv__map_add(fv__map *map, const char *key, size_t length, int64_t delta) {
    entry *e;
    FV_TRY(entry_of(map, key, length, &e));
    e->value += delta;
    return FV_OK;
}

size_t fv__map_size(const fv__map *map) { return map->size; }

const char *fv__map_own_key(const fv__map *map, const char *key, size_t length) {
    if (!map->slot_count) return NULL;
    uint32_t slot = *slot_of(map, key, length, hash_of(map, key, length));
    return slot ? map->entries[slot - 1].key : NULL;
}

const char *fv__map_key(const fv__map *map, size_t index, size_t *length) {
    if (length) *length = map->entries[index].length;
    return map->entries[index].key;
}

int64_t fv__map_value(const fv__map *map, size_t index) { return map->entries[index].value; }

void fv__map_free(fv__map *map) {
    if (!map) return;
    for (page *p = map->pages, *next; p; p = next) {
        next = p->next;
        fv__free(p);
    }
    fv__free(map->slots);
    fv__free(map->entries);
    fv__free(map);
}
