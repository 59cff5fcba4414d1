/* blocks: what is sent of each matrix. A whole matrix is one byte per weight, the square root of its share of the row's
 * maximum, because a plain 8-bit scale would round even attention over 512 keys to nothing. */
#include "explain/blocks.h"
#include "io/pack.h"

#include <math.h>
#include <string.h>

/* ---- encodings */

static float row_max(const float *row, int64_t keys) {
    float max = 0;
    for (int64_t j = 0; j < keys; j++) max = row[j] > max ? row[j] : max;
    return max;
}

static unsigned char compand(double weight, double max) {
    return max > 0 && weight > 0 ? (unsigned char)(FV_PAGE_LEVELS * sqrt(weight / max) + 0.5) : 0;
}

/* Every machine this is built for keeps floats little-endian, as the format wants them. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the page's blocks are little-endian");

void fv__block_exact(fv__buf *out, const float *weight, int64_t queries, int64_t keys) {
    fv__buf_add(out, weight, (size_t)(queries * keys) * sizeof *weight);
}

void fv__block_full(fv__buf *out, const float *weight, int64_t queries, int64_t keys) {
    for (int64_t i = 0; i < queries; i++) {
        float max = row_max(weight + i * keys, keys);
        fv__buf_add(out, &max, sizeof max);
    }
    for (int64_t i = 0; i < queries; i++) {
        const float *row = weight + i * keys;
        unsigned char code[256];
        float max = row_max(row, keys);
        for (int64_t j = 0; j < keys; j += 256) {
            int64_t n = keys - j < 256 ? keys - j : 256;
            for (int64_t k = 0; k < n; k++) code[k] = compand(row[j + k], max);
            fv__buf_add(out, code, (size_t)n);
        }
    }
}

/* The `top` largest weights of a row, descending; equal ones in order of the keys. Returns how many there are. */
static int64_t select_top(const float *row, int64_t keys, int64_t top, uint16_t *key) {
    int64_t count = 0;
    for (int64_t j = 0; j < keys; j++) {
        if (!(row[j] > 0) || (count == top && row[j] <= row[key[count - 1]])) continue;
        int64_t at = count < top ? count++ : top - 1;
        for (; at > 0 && row[key[at - 1]] < row[j]; at--) key[at] = key[at - 1];
        key[at] = (uint16_t)j;
    }
    return count;
}

static float entropy_bits(const float *row, int64_t keys) {
    double sum = 0, plogp = 0;
    for (int64_t j = 0; j < keys; j++)
        if (row[j] > 0) sum += row[j], plogp += row[j] * log2(row[j]);
    double h = sum > 0 ? log2(sum) - plogp / sum : 0;
    return h > 0 ? (float)h : 0;
}

static float left_out(const float *row, int64_t keys, const uint16_t *key, int64_t count) {
    double rest = 0;
    for (int64_t j = 0; j < keys; j++) rest += row[j];
    for (int64_t k = 0; k < count; k++) rest -= row[key[k]];
    return rest > 0 ? (float)rest : 0;
}

void fv__block_top(fv__buf *out, const float *weight, int64_t queries, int64_t keys, int64_t top) {
    fv__buf rest = {0}, entropy = {0}, key = {0}, code = {0};
    for (int64_t i = 0; i < queries; i++) {
        const float *row = weight + i * keys;
        uint16_t best[FV_PAGE_TOP];
        float max = row_max(row, keys), bits = entropy_bits(row, keys);
        int64_t count = select_top(row, keys, top, best);
        float other = left_out(row, keys, best, count);
        fv__buf_add(out, &max, sizeof max);
        fv__buf_add(&rest, &other, sizeof other);
        fv__buf_add(&entropy, &bits, sizeof bits);
        for (int64_t k = 0; k < top; k++) {
            uint16_t at = k < count ? best[k] : 65535;
            unsigned char c = k < count ? compand(row[at], max) : 0;
            fv__buf_add(&key, &at, sizeof at);
            fv__buf_add(&code, &c, 1);
        }
    }
    fv__buf *const parts[] = {&rest, &entropy, &key, &code};
    for (int p = 0; p < 4; p++) {
        fv__buf_add(out, parts[p]->data, parts[p]->size);
        out->failed |= parts[p]->failed;
        fv__buf_free(parts[p]);
    }
}

/* First and one-past-last row that cell i of `cells` covers. */
static void cover(int64_t i, int64_t cells, int64_t length, int64_t *start, int64_t *end) {
    *start = i * length / cells;
    *end = (i + 1) * length / cells;
    if (*end <= *start) *end = *start + 1;
}

void fv__block_thumb(fv__buf *out, const float *weight, int64_t queries, int64_t keys, int64_t rows, int64_t columns) {
    float max = row_max(weight, queries * keys);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) {
            int64_t i0, i1, j0, j1;
            cover(r, rows, queries, &i0, &i1);
            cover(c, columns, keys, &j0, &j1);
            float largest = 0;
            for (int64_t i = i0; i < i1; i++) largest = fmaxf(largest, row_max(weight + i * keys + j0, j1 - j0));
            unsigned char code = compand(largest, max);
            fv__buf_add(out, &code, 1);
        }
}

/* ---- elements */

/* <script type="text/plain" id="fv-ID">BASE64</script>; takes the content's buffer over. */
static fv_status element(fv__buf *out, const char *id, fv__buf *content, bool compress) {
    fv__buf packed = {0};
    fv_status status = fv__buf_status(content);
    if (status == FV_OK && compress) status = fv__deflate(&packed, content->data, content->size, 6);
    const fv__buf *from = compress ? &packed : content;
    if (status == FV_OK) {
        fv__buf_printf(out, "<script type=\"text/plain\" id=\"fv-%s\">", id);
        status = fv__base64(out, from->data, from->size);
        fv__buf_text(out, "</script>\n");
    }
    if (status == FV_OK) status = fv__buf_status(out);
    fv__buf_free(&packed);
    fv__buf_free(content);
    return status;
}

typedef enum tier { FULL, TOP, EXACT } tier;

/* What is being chosen: every matrix of every map has a place. */
typedef struct choice {
    const fv_explanation *e;
    const fv__head_choice *first;
    fv__map_blocks *map;
    bool compress;
    size_t left; /* of the budget */
} choice;

static fv__buf *place(const choice *c, tier what, int m, int64_t n) {
    fv__matrix_blocks *b = &c->map[m].matrix[n];
    return what == FULL ? &b->full : what == TOP ? &b->top : &b->exact;
}

static fv_status encode(const choice *c, tier what, int m, int64_t n) {
    const fv_explain_map *map = &c->e->map[m];
    int64_t queries = c->e->sequence[map->query].count, keys = c->e->sequence[map->key].count;
    const float *weight = map->head[n].weight;
    static const char *const names[] = {"full", "top", "exact"};
    fv__buf content = {0}, id = {0};
    if (what == FULL) fv__block_full(&content, weight, queries, keys);
    if (what == TOP) fv__block_top(&content, weight, queries, keys, c->map[m].top);
    if (what == EXACT) fv__block_exact(&content, weight, queries, keys);
    fv__buf_printf(&id, "%s-%d-%lld", names[what], m, (long long)n);
    fv_status status = fv__buf_status(&id);
    if (status == FV_OK)
        status = element(place(c, what, m, n), id.data, &content, c->compress);
    else
        fv__buf_free(&content);
    fv__buf_free(&id);
    return status;
}

/* Keeps a block that fits and drops one that does not. A block made in an earlier attempt is used again. */
static fv_status offer(choice *c, tier what, int m, int64_t n, bool *fits) {
    fv__buf *at = place(c, what, m, n);
    if (at->size == 0) FV_TRY(encode(c, what, m, n));
    *fits = at->size <= c->left;
    if (*fits)
        c->left -= at->size;
    else
        fv__buf_free(at);
    return FV_OK;
}

static fv_status thumbnails(choice *c, int m) {
    const fv_explain_map *map = &c->e->map[m];
    fv__map_blocks *to = &c->map[m];
    int64_t queries = c->e->sequence[map->query].count, keys = c->e->sequence[map->key].count;
    fv__buf content = {0}, id = {0};
    to->rows = queries < FV_PAGE_THUMB ? queries : FV_PAGE_THUMB;
    to->columns = keys < FV_PAGE_THUMB ? keys : FV_PAGE_THUMB;
    for (int64_t n = 0; n < map->heads; n++)
        fv__block_thumb(&content, map->head[n].weight, queries, keys, to->rows, to->columns);
    fv__buf_printf(&id, "thumb-%d", m);
    fv_status status = element(&to->thumb, id.data ? id.data : "", &content, c->compress);
    fv__buf_free(&id);
    if (status != FV_OK) return status;
    if (to->thumb.size > c->left) {
        fv__buf_free(&to->thumb);
        to->rows = to->columns = 0;
    }
    c->left -= to->thumb.size;
    return FV_OK;
}

static bool is_large(const fv_explanation *e, int m) {
    double size = (double)e->map[m].heads * (double)e->sequence[e->map[m].query].count;
    return size * (double)e->sequence[e->map[m].key].count > 4e6;
}

/* Small maps are sent as they are, all others companded. */
static tier whole_tier(const fv_explanation *e, int m) {
    double size = (double)e->map[m].heads * (double)e->sequence[e->map[m].query].count;
    return size * (double)e->sequence[e->map[m].key].count <= 2.5e5 ? EXACT : FULL;
}

/* Everything whole: true when it fits. What was encoded before the budget ran out stays for the second plan. */
static fv_status plan_whole(choice *c, bool *fits) {
    *fits = true;
    for (int m = 0; m < c->e->maps && *fits; m++)
        if (is_large(c->e, m)) FV_TRY(thumbnails(c, m));
    for (int m = 0; m < c->e->maps && *fits; m++)
        for (int64_t n = 0; n < c->map[m].heads && *fits; n++) FV_TRY(offer(c, whole_tier(c->e, m), m, n, fits));
    for (int m = 0; m < c->e->maps && *fits; m++) {
        bool exact;
        if (whole_tier(c->e, m) == EXACT) continue;
        FV_TRY(offer(c, EXACT, m, c->map[m].select, &exact));
    }
    return FV_OK;
}

/* The selected matrix and those asked for, then the rest of its layer, then the others. */
static int turn_of(const choice *c, int m, int64_t n) {
    const fv_explain_head *head = &c->e->map[m].head[n], *select = &c->e->map[m].head[c->map[m].select];
    if (head == select || (!head->id && fv__head_chosen(c->first, head->layer, head->head))) return 0;
    return head->layer == select->layer ? 1 : 2;
}

/* Thumbnails and the largest weights of each row for all; whole matrices while they fit, in turns. */
static fv_status plan_coarse(choice *c) {
    bool fits;
    for (int m = 0; m < c->e->maps; m++)
        if (c->map[m].thumb.size == 0) FV_TRY(thumbnails(c, m));
    for (int m = 0; m < c->e->maps; m++) {
        int64_t keys = c->e->sequence[c->e->map[m].key].count;
        if (keys >= 65535) continue; /* keys are 16 bits wide in these blocks */
        c->map[m].top = keys < FV_PAGE_TOP ? keys : FV_PAGE_TOP;
        for (int64_t n = 0; n < c->map[m].heads; n++) FV_TRY(offer(c, TOP, m, n, &fits));
    }
    for (int round = 0; round < 3; round++)
        for (int m = 0; m < c->e->maps; m++)
            for (int64_t n = 0; n < c->map[m].heads; n++)
                if (turn_of(c, m, n) == round) FV_TRY(offer(c, FULL, m, n, &fits));
    return FV_OK;
}

/* The first plan's whole matrices are not yet paid for in the second, which sends none exactly. */
static void refund(choice *c, size_t budget) {
    c->left = budget;
    for (int m = 0; m < c->e->maps; m++) {
        c->left -= c->map[m].thumb.size;
        for (int64_t n = 0; n < c->map[m].heads; n++) fv__buf_free(&c->map[m].matrix[n].exact);
    }
}

fv_status fv__blocks_make(fv__map_blocks *map, const fv_explanation *e, const fv__head_choice *first, size_t budget,
                          bool compress) {
    choice c = {e, first, map, compress, budget};
    for (int m = 0; m < e->maps; m++) {
        map[m] = (fv__map_blocks){.heads = e->map[m].heads, .select = map[m].select};
        map[m].matrix = fv__alloc_array((size_t)map[m].heads, sizeof *map[m].matrix);
        if (!map[m].matrix) return FV_NO_RESOURCES;
    }
    bool whole;
    FV_TRY(plan_whole(&c, &whole));
    if (whole) return FV_OK;
    refund(&c, budget);
    return plan_coarse(&c);
}

void fv__blocks_free(fv__map_blocks *map, int maps) {
    for (int m = 0; map && m < maps; m++) {
        for (int64_t n = 0; map[m].matrix && n < map[m].heads; n++) {
            fv__buf_free(&map[m].matrix[n].full);
            fv__buf_free(&map[m].matrix[n].top);
            fv__buf_free(&map[m].matrix[n].exact);
        }
        fv__free(map[m].matrix);
        fv__buf_free(&map[m].thumb);
    }
}
