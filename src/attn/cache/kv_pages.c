/* The pool of pages of a paged cache. A page knows how many sequences refer to it; one that several refer to is
 * copied before it is written. */
#include "attn/cache/kv_cache.h"

#include <string.h>

int64_t fv__kv_pages_for(const fv_kv_cache *c, int64_t length) { return length / c->rows + (length % c->rows != 0); }

int64_t fv__kv_page_take(fv_kv_cache *c) {
    const int64_t page = c->unused[--c->unused_count];
    c->references[page] = 1;
    return page;
}

void fv__kv_page_drop(fv_kv_cache *c, int64_t page) {
    if (--c->references[page] == 0) c->unused[c->unused_count++] = page;
}

void fv__kv_page_copy(fv_kv_cache *to, int64_t to_page, const fv_kv_cache *from, int64_t from_page) {
    const size_t rows = (size_t)(from->o.kv_heads * from->rows);
    memcpy(to->k + (size_t)to_page * rows * to->k_pitch, from->k + (size_t)from_page * rows * from->k_pitch,
           rows * from->k_pitch);
    memcpy(to->v + (size_t)to_page * rows * to->v_pitch, from->v + (size_t)from_page * rows * from->v_pitch,
           rows * from->v_pitch);
}

void fv__kv_share(fv_kv_cache *c, int64_t b) {
    for (int64_t s = 0; s < fv__kv_pages_for(c, c->length[b]); s++) c->references[c->table[b * c->slots + s]]++;
}

void fv__kv_release(fv_kv_cache *c, int64_t b, int64_t length) {
    for (int64_t s = fv__kv_pages_for(c, c->length[b]); s > fv__kv_pages_for(c, length); s--)
        fv__kv_page_drop(c, c->table[b * c->slots + s - 1]);
}

/* Pages that nobody but sequence b has. */
int64_t fv__kv_pages_exclusive(const fv_kv_cache *c, int64_t b) {
    int64_t pages = 0;
    for (int64_t s = 0; s < fv__kv_pages_for(c, c->length[b]); s++)
        pages += c->references[c->table[b * c->slots + s]] == 1;
    return pages;
}

/* ---- append */

/* The entry of the page that the next row of sequence b goes to, NULL when that is a new one. */
static int64_t *begun_page(const fv_kv_cache *c, int64_t b) {
    return c->length[b] % c->rows == 0 ? NULL : &c->table[b * c->slots + c->length[b] / c->rows];
}

/* Of a begun page with r references that a sequences append to, min(a, r - 1) copies are made: the last one to come
 * has the page for itself. The references are counted down to see that, and up again. */
int64_t fv__kv_pages_to_append(fv_kv_cache *c, const int64_t *counts, int64_t n) {
    int64_t pages = 0;
    for (int64_t b = 0; b < c->o.batch; b++) {
        const int64_t count = counts ? counts[b] : n, *begun = count > 0 ? begun_page(c, b) : NULL;
        pages += fv__kv_pages_for(c, c->length[b] + count) - fv__kv_pages_for(c, c->length[b]);
        if (begun && --c->references[*begun] > 0) pages++;
    }
    for (int64_t b = 0; b < c->o.batch; b++) {
        const int64_t *begun = (counts ? counts[b] : n) > 0 ? begun_page(c, b) : NULL;
        if (begun) c->references[*begun]++;
    }
    return pages;
}

void fv__kv_pages_append(fv_kv_cache *c, int64_t b, int64_t n) {
    int64_t *begun = n > 0 ? begun_page(c, b) : NULL;
    if (begun && c->references[*begun] > 1) {
        const int64_t shared = *begun;
        *begun = fv__kv_page_take(c);
        fv__kv_page_copy(c, *begun, c, shared);
        fv__kv_page_drop(c, shared);
    }
    const int64_t need = fv__kv_pages_for(c, c->length[b] + n);
    for (int64_t s = fv__kv_pages_for(c, c->length[b]); s < need; s++) c->table[b * c->slots + s] = fv__kv_page_take(c);
}
