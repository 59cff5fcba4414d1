/* Copies of sequences and of caches: random sequences of append, truncate, reset, copy, reorder, clone and grow
 * against arrays that know which row stands where and which pages are shared; decoding over shared pages; what is
 * refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "decode_case.h"

enum { MOST = 5, LONGEST = 160, SLOTS = LONGEST / 16 + 1 };

/* ---- the model: a row is a number, from which its keys and values follow; a page is a number, too */

typedef struct model {
    fv_kv_cache *cache;
    fv_cache_options o;
    int64_t length[MOST], first[MOST], row[MOST][LONGEST], page[MOST][SLOTS];
} model;

static int64_t fresh; /* numbers of rows and pages that nobody had before */

static float element_of(int64_t row, int64_t head, int64_t d, int64_t value) {
    return (float)((row * 31 + head * 7 + d * 3 + value * 11) % 127);
}

static void open_model(model *m, const fv_cache_options *o) {
    memset(m, 0, sizeof *m);
    m->o = *o;
    if (fv_kv_cache_create(&m->cache, o) != FV_OK) fail_msg("%s", fv_message());
    case_poison(m->cache);
}

static int64_t slots_of(const model *m, int64_t length) { return (length + m->o.page_rows - 1) / m->o.page_rows; }

/* Different pages that sequences have. */
static int64_t pages_held(const model *m) {
    int64_t held[MOST * SLOTS], count = 0;
    for (int64_t b = 0; b < m->o.batch; b++)
        for (int64_t s = 0; s < slots_of(m, m->length[b]); s++) {
            bool known = false;
            for (int64_t i = 0; i < count; i++) known |= held[i] == m->page[b][s];
            if (!known) held[count++] = m->page[b][s];
        }
    return count;
}

static bool is_shared(const model *m, int64_t b, int64_t s) {
    for (int64_t x = 0; x < m->o.batch; x++)
        if (x != b && s < slots_of(m, m->length[x]) && m->page[x][s] == m->page[b][s]) return true;
    return false;
}

static int64_t model_most(const model *m) {
    if (m->o.kind == FV_CACHE_RING) return LONGEST;
    if (m->o.kind == FV_CACHE_CONTIGUOUS || m->o.capacity > 0) return m->o.capacity;
    return m->o.pages * m->o.page_rows;
}

static void model_append(model *m, int64_t b, int64_t n) {
    if (m->o.kind == FV_CACHE_PAGED && n > 0) {
        const int64_t begun = m->length[b] / m->o.page_rows;
        if (m->length[b] % m->o.page_rows && is_shared(m, b, begun)) m->page[b][begun] = ++fresh;
        for (int64_t s = slots_of(m, m->length[b]); s < slots_of(m, m->length[b] + n); s++)
            fresh += 1, m->page[b][s] = fresh;
    }
    for (int64_t r = 0; r < n; r++) fresh += 1, m->row[b][m->length[b]++] = fresh;
    if (m->o.kind == FV_CACHE_RING && m->length[b] - m->o.capacity > m->first[b])
        m->first[b] = m->length[b] - m->o.capacity;
}

static void model_take(model *to, int64_t to_b, const model *from, int64_t from_b) {
    to->length[to_b] = from->length[from_b], to->first[to_b] = from->first[from_b];
    memcpy(to->row[to_b], from->row[from_b], sizeof to->row[to_b]);
    memcpy(to->page[to_b], from->page[from_b], sizeof to->page[to_b]);
}

static void check_model(const model *m, const char *what) {
    static float k[2 * LONGEST * 6], v[2 * LONGEST * 6];
    const fv_cache_options *o = &m->o;
    for (int64_t b = 0; b < o->batch; b++) {
        const int64_t first = m->first[b], n = m->length[b] - first;
        const fv_tensor kt = fv_tensor_of(k, FV_F32, 3, (int64_t[]){o->kv_heads, n, o->d_qk}),
                        vt = fv_tensor_of(v, FV_F32, 3, (int64_t[]){o->kv_heads, n, o->d_v});
        if (fv_kv_cache_length(m->cache, b) != m->length[b] || fv_kv_cache_first(m->cache, b) != first)
            fail_msg("%s: sequence %d has another length", what, (int)b);
        if (fv_kv_cache_read(m->cache, b, first, &kt, &vt) != FV_OK) fail_msg("%s: %s", what, fv_message());
        for (int64_t h = 0; h < o->kv_heads; h++)
            for (int64_t r = 0; r < n; r++) {
                for (int64_t d = 0; d < o->d_qk; d++)
                    if (k[(h * n + r) * o->d_qk + d] != element_of(m->row[b][first + r], h, d, 0))
                        fail_msg("%s: key of sequence %d, position %d", what, (int)b, (int)(first + r));
                for (int64_t d = 0; d < o->d_v; d++)
                    if (v[(h * n + r) * o->d_v + d] != element_of(m->row[b][first + r], h, d, 1))
                        fail_msg("%s: value of sequence %d, position %d", what, (int)b, (int)(first + r));
            }
    }
    if (o->kind == FV_CACHE_PAGED && fv_kv_cache_free_pages(m->cache) != o->pages - pages_held(m))
        fail_msg("%s: %d free pages, not %d", what, (int)fv_kv_cache_free_pages(m->cache),
                 (int)(o->pages - pages_held(m)));
}

/* ---- operations: the model says whether there is room, the cache must agree */

static void try_append(model *m, decode_case *c) {
    static float k[MOST * 2 * 40 * 6], v[MOST * 2 * 40 * 6];
    const fv_cache_options *o = &m->o;
    const int64_t most = pick(c, 3) ? pick(c, 5) : pick(c, 40);
    int64_t counts[MOST];
    bool room = true;
    model after = *m;
    const fv_tensor kt = fv_bhld(k, FV_F32, o->batch, o->kv_heads, most, o->d_qk),
                    vt = fv_bhld(v, FV_F32, o->batch, o->kv_heads, most, o->d_v);
    for (int64_t b = 0; b < o->batch; b++) {
        counts[b] = pick(c, most + 1);
        if (o->kind == FV_CACHE_RING && m->length[b] + counts[b] > LONGEST) counts[b] = 0;
        if (m->length[b] + counts[b] > model_most(m)) {
            room = false;
            continue;
        }
        model_append(&after, b, counts[b]);
        for (int64_t r = 0; r < counts[b]; r++)
            for (int64_t h = 0; h < o->kv_heads; h++) {
                const int64_t row = after.row[b][m->length[b] + r];
                for (int64_t d = 0; d < o->d_qk; d++)
                    k[((b * o->kv_heads + h) * most + r) * o->d_qk + d] = element_of(row, h, d, 0);
                for (int64_t d = 0; d < o->d_v; d++)
                    v[((b * o->kv_heads + h) * most + r) * o->d_v + d] = element_of(row, h, d, 1);
            }
    }
    if (o->kind == FV_CACHE_PAGED && pages_held(&after) > o->pages) room = false;
    assert_int_equal(fv_kv_cache_append(m->cache, &kt, &vt, counts), room ? FV_OK : FV_NO_RESOURCES);
    if (room) *m = after;
}

static void try_truncate(model *m, decode_case *c) {
    const int64_t b = pick(c, m->o.batch), length = m->first[b] + pick(c, m->length[b] - m->first[b] + 1);
    assert_int_equal(fv_kv_cache_truncate(m->cache, b, length), FV_OK);
    m->length[b] = length;
}

static void try_reset(model *m, decode_case *c) {
    const int64_t b = pick(c, 4) ? pick(c, m->o.batch) : -1;
    assert_int_equal(fv_kv_cache_reset(m->cache, b), FV_OK);
    for (int64_t i = 0; i < m->o.batch; i++)
        if (b < 0 || b == i) m->length[i] = m->first[i] = 0;
}

static void try_copy(model *to, const model *from, decode_case *c) {
    const int64_t a = pick(c, to->o.batch), b = pick(c, from->o.batch);
    model after = *to;
    model_take(&after, a, from, b);
    bool room = true;
    if (to->cache != from->cache) {
        room = from->length[b] <= model_most(to);
        const int64_t kept = from->length[b] - to->o.capacity;
        if (to->o.kind == FV_CACHE_RING && kept > after.first[a]) after.first[a] = kept;
        if (to->o.kind == FV_CACHE_PAGED && room) {
            for (int64_t s = 0; s < slots_of(to, after.length[a]); s++) fresh += 1, after.page[a][s] = fresh;
            room = pages_held(&after) <= to->o.pages;
        }
    }
    assert_int_equal(fv_kv_cache_copy(to->cache, a, from->cache, b), room ? FV_OK : FV_NO_RESOURCES);
    if (room) *to = after;
}

static void try_reorder(model *m, decode_case *c) {
    const model before = *m;
    const int64_t n = pick(c, 3) ? m->o.batch : pick(c, m->o.batch + 1), how = pick(c, 3);
    int64_t parent[MOST];
    for (int64_t b = 0; b < n; b++) parent[b] = how == 0 ? (b + 1) % n : pick(c, m->o.batch);
    for (int64_t b = n - 1; b > 0 && how == 1; b--) { /* any permutation: cycles of all lengths */
        if (b == n - 1)
            for (int64_t i = 0; i < n; i++) parent[i] = i;
        const int64_t other = pick(c, b + 1), kept = parent[b];
        parent[b] = parent[other], parent[other] = kept;
    }
    assert_int_equal(fv_kv_cache_reorder(m->cache, parent, n), FV_OK);
    for (int64_t b = 0; b < n; b++) model_take(m, b, &before, parent[b]);
}

/* The clone goes on in place of the cache: had they anything in common, what is freed here would be missed. */
static void try_clone(model *m) {
    fv_kv_cache *copy;
    assert_int_equal(fv_kv_cache_clone(&copy, m->cache), FV_OK);
    case_poison(m->cache);
    fv_kv_cache_free(m->cache);
    m->cache = copy;
}

static void try_grow(model *m, decode_case *c) {
    int64_t *size = m->o.kind == FV_CACHE_PAGED ? &m->o.pages : &m->o.capacity;
    const int64_t larger = *size + pick(c, 3);
    if (larger > (m->o.kind == FV_CACHE_PAGED ? LONGEST / m->o.page_rows : LONGEST)) return;
    assert_int_equal(fv_kv_cache_grow(m->cache, larger), FV_OK);
    *size = larger;
}

static void step(model *m, model *other, decode_case *c) {
    switch (pick(c, 12)) {
    case 0: try_truncate(m, c); break;
    case 1:
        if (pick(c, 3) == 0) try_reset(m, c);
        break;
    case 2:
    case 3: try_copy(m, m, c); break;
    case 4: try_copy(m, other, c); break;
    case 5:
    case 6:
    case 7: try_reorder(m, c); break;
    case 8: pick(c, 2) ? try_clone(m) : try_grow(m, c); break;
    default: try_append(m, c);
    }
}

static void options_of(fv_cache_options *o, decode_case *c) {
    o->batch = 1 + pick(c, MOST), o->kind = (fv_cache_kind)pick(c, 3);
    o->page_rows = o->kind == FV_CACHE_PAGED ? 16 * (1 + pick(c, 2)) : 0;
    o->pages = o->kind == FV_CACHE_PAGED ? 1 + pick(c, LONGEST / o->page_rows) : 0;
    o->capacity = o->kind == FV_CACHE_PAGED ? 0 : 1 + pick(c, LONGEST);
    if (o->kind == FV_CACHE_PAGED && pick(c, 2)) o->capacity = 1 + pick(c, o->pages * o->page_rows);
}

static void does_as_the_model(void **state) {
    static const fv_dtype types[] = {FV_F32, FV_BF16, FV_F16};
    static const char *const names[] = {"contiguous", "ring", "paged"};
    static model one, two;
    (void)state;
    for (int64_t i = 0; i < case_times(400); i++) {
        decode_case c;
        fv_cache_options o = {.kv_heads = 1, .d_qk = 1, .d_v = 1};
        case_begin(&c, (uint64_t)(90000 + i));
        o.kv_heads += pick(&c, 2), o.d_qk += pick(&c, 6), o.d_v += pick(&c, 6), o.dtype = types[pick(&c, 3)];
        options_of(&o, &c), open_model(&one, &o);
        options_of(&o, &c), open_model(&two, &o);
        for (int s = 0; s < 120; s++) {
            char what[80];
            model *m = pick(&c, 3) ? &one : &two;
            snprintf(what, sizeof what, "seed %d, step %d, %s", (int)i, s, names[m->o.kind]);
            step(m, m == &one ? &two : &one, &c);
            check_model(m, what);
        }
        check_model(&one, "at last"), check_model(&two, "at last");
        fv_kv_cache_free(one.cache), fv_kv_cache_free(two.cache);
    }
}

static void moves_many_bytes(void **state) { /* enough that threads share the work */
    (void)state;
    const fv_cache_options o = {3, 4, 64, 64, FV_F32, FV_CACHE_CONTIGUOUS, 400, 0, 0};
    const size_t count = (size_t)(3 * 4 * 400 * 64);
    float *rows = malloc(count * sizeof *rows), *back = malloc(count * sizeof *back);
    fv_kv_cache *cache;
    for (size_t i = 0; i < count; i++) rows[i] = (float)i;
    const fv_tensor k = fv_bhld(rows, FV_F32, 3, 4, 400, 64);
    assert_int_equal(fv_kv_cache_create(&cache, &o), FV_OK);
    assert_int_equal(fv_kv_cache_append(cache, &k, &k, (int64_t[]){400, 300, 399}), FV_OK);
    assert_int_equal(fv_kv_cache_reorder(cache, (int64_t[]){2, 0, 1}, 3), FV_OK);
    assert_int_equal(fv_kv_cache_copy(cache, 2, cache, 1), FV_OK);
    const int64_t from[3] = {2, 0, 0}, length[3] = {399, 400, 400};
    for (int64_t b = 0; b < 3; b++) {
        const fv_tensor to = fv_tensor_of(back, FV_F32, 3, (int64_t[]){4, length[b], 64});
        assert_int_equal(fv_kv_cache_length(cache, b), length[b]);
        for (int value = 0; value < 2; value++) {
            assert_int_equal(fv_kv_cache_read(cache, b, 0, value ? NULL : &to, value ? &to : NULL), FV_OK);
            for (int64_t h = 0; h < 4; h++)
                assert_memory_equal(back + h * length[b] * 64, rows + (from[b] * 4 + h) * 400 * 64,
                                    (size_t)length[b] * 64 * sizeof *rows);
        }
    }
    fv_kv_cache_free(cache);
    free(rows), free(back);
}

/* ---- decoding over shared pages */

/* All sequences refer to the pages of one, so that together they have more positions than there are in the pool:
 * with the scratch that was announced before, the same bits as from a cache in which every sequence has its own
 * rows. */
static void decodes_from_shared_pages(void **state) {
    (void)state;
    for (int64_t i = 0; i < case_times(12); i++) {
        decode_case c;
        case_begin(&c, (uint64_t)(91000 + i));
        case_shape(&c, CASE_LONGEST);
        c.keep.batch = 3, c.keep.kind = FV_CACHE_PAGED, c.keep.page_rows = 16 * (1 + pick(&c, 5)), c.keep.capacity = 0;
        c.keep.pages = 3 * (CASE_LONGEST + 64) / c.keep.page_rows + 3;
        case_make(&c, CASE_LONGEST);
        const int64_t parent[3] = {1, 1, 1};
        for (int64_t b = 0; b < 3; b++) c.counts[b] = c.counts[1];
        fv_cache_options few = c.keep, own = c.keep;
        few.pages = (c.length[1] + few.page_rows - 1) / few.page_rows + 1;
        own.kind = FV_CACHE_CONTIGUOUS, own.capacity = c.length[1] + 1;
        fv_kv_cache *shared, *apart;
        assert_int_equal(fv_kv_cache_create(&shared, &few), FV_OK);
        assert_int_equal(fv_kv_cache_create(&apart, &own), FV_OK);
        assert_int_equal(fv_kv_cache_copy(shared, 1, c.cache, 1), FV_OK);
        assert_int_equal(fv_kv_cache_reorder(shared, parent, 3), FV_OK);
        for (int64_t b = 0; b < 3; b++) assert_int_equal(fv_kv_cache_copy(apart, b, shared, b), FV_OK);
        assert_int_equal(fv_kv_cache_free_pages(shared), 1);
        if (case_run(&c, shared, &c.x, c.n) != FV_OK) fail_msg("%s", fv_message());
        case_check_run_same(&c, apart, "shared pages");
        fv_kv_cache_free(shared), fv_kv_cache_free(apart);
        case_free(&c);
    }
}

/* ---- what is refused */

static void refused(fv_status status, fv_status want, const char *words) {
    if (status != want || !strstr(fv_message(), words))
        fail_msg("status %d, not %d with \"%s\": %s", (int)status, (int)want, words, fv_message());
}

static void wrong_copies(void **state) {
    (void)state;
    const fv_cache_options o = {2, 1, 4, 4, FV_F32, FV_CACHE_PAGED, 0, 16, 3};
    static float rows[2 * 40 * 4];
    fv_kv_cache *cache, *other;
    const fv_tensor k = fv_bhld(rows, FV_F32, 2, 1, 32, 4);
    assert_int_equal(fv_kv_cache_create(&cache, &o), FV_OK);
    assert_int_equal(fv_kv_cache_append(cache, &k, &k, (int64_t[]){32, 16}), FV_OK);
    refused(fv_kv_cache_copy(cache, 2, cache, 0), FV_USAGE,
            "sequence to write\n  expected a number from 0 to 1\n  found:   2");
    refused(fv_kv_cache_copy(cache, 0, cache, -1), FV_USAGE, "sequence to read");
    refused(fv_kv_cache_copy(NULL, 0, cache, 0), FV_USAGE, "copy, to\n  expected a pointer\n  found:   NULL");
    refused(fv_kv_cache_copy(cache, 0, NULL, 0), FV_USAGE, "copy, from");
    refused(fv_kv_cache_clone(NULL, cache), FV_USAGE, "clone");
    refused(fv_kv_cache_clone(&other, NULL), FV_USAGE, "clone");
    assert_null(other);
    refused(fv_kv_cache_reorder(NULL, NULL, 0), FV_USAGE, "reorder, cache");
    refused(fv_kv_cache_reorder(cache, NULL, 1), FV_USAGE, "reorder, parent");
    refused(fv_kv_cache_reorder(cache, (int64_t[]){0, 0, 0}, 3), FV_USAGE,
            "reorder, n\n  expected a number from 0 to 2");
    refused(fv_kv_cache_reorder(cache, (int64_t[]){1, 2}, 2), FV_USAGE,
            "parent of sequence 1\n  expected 0 to 1\n  found:   2");
    refused(fv_kv_cache_reorder(cache, (int64_t[]){INT64_MIN, 0}, 2), FV_USAGE, "parent of sequence 0");
    assert_int_equal(fv_kv_cache_reorder(cache, NULL, 0), FV_OK);
    assert_int_equal(fv_kv_cache_free_pages(cache), 0);
    /* sequence 1 takes the pages of 0 and gives its own back; the copy that an append makes is counted */
    assert_int_equal(fv_kv_cache_copy(cache, 1, cache, 0), FV_OK);
    assert_int_equal(fv_kv_cache_free_pages(cache), 1);
    assert_int_equal(fv_kv_cache_truncate(cache, 1, 20), FV_OK);
    assert_int_equal(fv_kv_cache_truncate(cache, 0, 24), FV_OK);
    assert_int_equal(fv_kv_cache_free_pages(cache), 1);
    refused(fv_kv_cache_append(cache, &k, &k, (int64_t[]){9, 1}), FV_NO_RESOURCES,
            "expected 2 free pages of 16 rows\n  found:   1");
    assert_int_equal(fv_kv_cache_append(cache, &k, &k, (int64_t[]){8, 1}), FV_OK);
    assert_int_equal(fv_kv_cache_free_pages(cache), 0);
    fv_cache_options small = o;
    small.pages = 1, small.batch = 1;
    assert_int_equal(fv_kv_cache_create(&other, &small), FV_OK);
    refused(fv_kv_cache_copy(other, 0, cache, 0), FV_NO_RESOURCES, "expected at most 16 positions");
    small.pages = 2, small.batch = 2, small.capacity = 0;
    fv_kv_cache_free(other);
    assert_int_equal(fv_kv_cache_create(&other, &small), FV_OK);
    assert_int_equal(fv_kv_cache_copy(other, 0, cache, 1), FV_OK);
    refused(fv_kv_cache_copy(other, 1, cache, 0), FV_NO_RESOURCES, "expected 2 free pages of 16 rows\n  found:   0");
    assert_int_equal(fv_kv_cache_copy(other, 0, cache, 0), FV_OK); /* in the place of what it had */
    fv_kv_cache_free(other);
    small.d_v = 5;
    assert_int_equal(fv_kv_cache_create(&other, &small), FV_OK);
    refused(fv_kv_cache_copy(other, 0, cache, 0), FV_USAGE,
            "widths 4 and 5, f32\n  found:   1 kv heads, widths 4 and 4");
    fv_kv_cache_free(other);
    fv_kv_cache_free(cache);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(does_as_the_model),
        cmocka_unit_test(moves_many_bytes),
        cmocka_unit_test(decodes_from_shared_pages),
        cmocka_unit_test(wrong_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
