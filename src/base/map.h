/* base: a hash map from texts to numbers. */
#ifndef FV_BASE_MAP_H
#define FV_BASE_MAP_H

#include "base/status.h"

/* A hash map from byte strings to int64. Keys are copied; order of insertion is the order of index. */
typedef struct fv__map fv__map;
fv_status fv__map_create(fv__map **map);
int64_t fv__map_get(const fv__map *map, const char *key, size_t length, int64_t missing);
fv_status fv__map_set(fv__map *map, const char *key, size_t length, int64_t value); /* adds or replaces */
fv_status fv__map_add(fv__map *map, const char *key, size_t length, int64_t delta); /* counts; missing is 0 */
size_t fv__map_size(const fv__map *map);
const char *fv__map_key(const fv__map *map, size_t index, size_t *length);
const char *fv__map_own_key(const fv__map *map, const char *key, size_t length); /* the map's copy, NULL: none */
int64_t fv__map_value(const fv__map *map, size_t index);
void fv__map_free(fv__map *map);

uint64_t fv__hash_keyed(const void *bytes, size_t count, const uint64_t secret[2]); /* nobody can make collisions */
uint64_t fv__hash(const void *bytes, size_t count,
                  uint64_t seed); /* stable over machines and versions; not cryptographic */

#endif
