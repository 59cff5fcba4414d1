/* The table of names: keys made to meet in one slot cost no more than others, and the keyed hash is SipHash. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"

#include <string.h>
#include <time.h>

/* Two words of eight bytes whose hash is the same for all `number`: the second undoes what the first did. The steps of
 * fv__hash are public, and each can be turned back. */
static void colliding_key(uint64_t key[2], uint64_t number) {
    const uint64_t multiplier = 0x9E3779B97F4A7C15u;
    uint64_t inverse = multiplier; /* modulo 2^64, by Newton's steps */
    for (int i = 0; i < 6; i++) inverse *= 2 - multiplier * inverse;
    uint64_t h = 16 * 0xA0761D6478BD642Fu;
    h ^= number * multiplier;
    h = (h << 29 | h >> 35) * 0xD6E8FEB86659FD93u;
    key[0] = number;
    key[1] = (h ^ 0x1234567890ABCDEFu) * inverse;
}

static void colliding_keys_cost_no_more(void **state) {
    (void)state;
    enum { KEYS = 80000 };
    fv__map *map;
    uint64_t key[2], first[2];
    colliding_key(first, 0);
    assert_int_equal(fv__map_create(&map), FV_OK);
    clock_t start = clock();
    for (uint64_t i = 0; i < KEYS; i++) {
        colliding_key(key, i);
        assert_true(fv__hash(key, 16, 0) == fv__hash(first, 16, 0)); /* they do collide */
        assert_int_equal(fv__map_set(map, (const char *)key, 16, (int64_t)i), FV_OK);
    }
    for (uint64_t i = 0; i < KEYS; i++) {
        colliding_key(key, i);
        assert_int_equal(fv__map_get(map, (const char *)key, 16, -1), i);
        assert_memory_equal(fv__map_key(map, (size_t)i, NULL), key, 16); /* the order is that of insertion */
    }
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 2); /* 10 s when every search walks over all of them */
    assert_int_equal(fv__map_get(map, "absent", 6, -1), -1);
    assert_ptr_equal(fv__map_own_key(map, (const char *)first, 16), fv__map_key(map, 0, NULL));
    assert_null(fv__map_own_key(map, "absent", 6));
    fv__map_free(map);
}

/* The first of the vectors of SipHash-1-3: no bytes, the key 00 01 .. 0f. */
static void the_keyed_hash_is_siphash(void **state) {
    (void)state;
    const uint64_t secret[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
    assert_true(fv__hash_keyed("", 0, secret) == 0xabac0158050fc4dcu);
    assert_true(fv__hash_keyed("12345678", 8, secret) != fv__hash_keyed("12345678\0", 9, secret));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(colliding_keys_cost_no_more),
        cmocka_unit_test(the_keyed_hash_is_siphash),
    };
    return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
