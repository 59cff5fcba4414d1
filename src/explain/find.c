/* find: matrices by name ("2:5", "rollout") and choices of heads ("0,2-3", "3:*,11:2"). */
#include "explain/render.h"

#include <string.h>

/* ---- a choice of heads */

/* Reads digits; false when there are none or the number is not an int32. */
static bool read_number(const char **at, int32_t *value) {
    int64_t n = 0;
    const char *p = *at;
    for (; *p >= '0' && *p <= '9'; p++) {
        n = n * 10 + (*p - '0');
        if (n > INT32_MAX) return false;
    }
    if (p == *at) return false;
    *at = p;
    *value = (int32_t)n;
    return true;
}

/* "*", "4" or "4-7" */
static bool read_range(const char **at, int32_t *first, int32_t *last) {
    if (**at == '*') {
        ++*at;
        *first = 0;
        *last = INT32_MAX;
        return true;
    }
    if (!read_number(at, first)) return false;
    *last = *first;
    if (**at != '-') return true;
    ++*at;
    return read_number(at, last) && *last >= *first;
}

static bool read_heads(const char **at, fv__head_range *range) {
    *range = (fv__head_range){0, INT32_MAX, 0, INT32_MAX};
    if (!read_range(at, &range->layer_first, &range->layer_last)) return false;
    if (**at != ':') return true;
    ++*at;
    return read_range(at, &range->head_first, &range->head_last);
}

fv_status fv__head_choice_parse(fv__head_choice *choice, const char *text) {
    *choice = (fv__head_choice){0};
    const char *at = text ? text : "*";
    for (;;) {
        fv__head_range range;
        if (!read_heads(&at, &range) || (*at && *at != ',')) {
            fv__head_choice_free(choice);
            return fv__fail(FV_USAGE,
                            "heads: cannot read \"%s\"\n  expected layers \"0,2-3\" or heads \"3:*,11:2\"\n"
                            "  found:   \"%s\"",
                            text, at);
        }
        fv_status status = FV_GROW(&choice->range, &choice->capacity, choice->count + 1);
        if (status != FV_OK) {
            fv__head_choice_free(choice);
            return status;
        }
        choice->range[choice->count++] = range;
        if (!*at) return FV_OK;
        at++;
    }
}

bool fv__head_chosen(const fv__head_choice *choice, int32_t layer, int32_t head) {
    for (size_t i = 0; i < choice->count; i++) {
        const fv__head_range *r = &choice->range[i];
        if (layer >= r->layer_first && layer <= r->layer_last && head >= r->head_first && head <= r->head_last)
            return true;
    }
    return false;
}

void fv__head_choice_free(fv__head_choice *choice) {
    fv__free(choice->range);
    *choice = (fv__head_choice){0};
}

/* ---- one matrix by name */

typedef bool head_test(const fv_explain_head *head, int32_t layer, int32_t number);

static bool is_mean(const fv_explain_head *h, int32_t layer, int32_t number) {
    (void)number;
    return h->id && !strcmp(h->id, "mean") && (layer < 0 || h->layer == layer);
}
static bool is_head(const fv_explain_head *h, int32_t layer, int32_t number) {
    return !h->id && (layer < 0 || h->layer == layer) && (number < 0 || h->head == number);
}
static bool is_any(const fv_explain_head *h, int32_t layer, int32_t number) {
    (void)number;
    return layer < 0 || h->layer == layer;
}
static bool is_rollout(const fv_explain_head *h, int32_t layer, int32_t number) {
    (void)layer, (void)number;
    return h->id && !strcmp(h->id, "rollout");
}

/* The last matrix that passes: heads come in order of layers. */
static bool look(const fv_explain_map *map, head_test *test, int32_t layer, int32_t number, int64_t *head) {
    for (int64_t h = map->heads - 1; h >= 0; h--)
        if (test(&map->head[h], layer, number)) return *head = h, true;
    return false;
}

static bool look_mean(const fv_explain_map *map, int32_t layer, int64_t *head) {
    return look(map, is_mean, layer, -1, head) || look(map, is_head, layer, -1, head) ||
           look(map, is_any, layer, -1, head);
}

static bool look_named(const fv_explanation *e, const char *name, int *map, int64_t *head) {
    int32_t layer, number;
    const char *at = name;
    for (*map = 0; *map < e->maps; ++*map) {
        const fv_explain_map *m = &e->map[*map];
        if (!strcmp(name, "mean") && look_mean(m, -1, head)) return true;
        if (!strcmp(name, "rollout") && look(m, is_rollout, -1, -1, head)) return true;
        if (!strcmp(name, m->id) && look_mean(m, -1, head)) return true;
    }
    *map = 0;
    for (int m = 0; m < e->maps; m++) { /* "cross:2:5": of another map than the first */
        size_t length = strlen(e->map[m].id);
        if (strncmp(name, e->map[m].id, length) || name[length] != ':') continue;
        *map = m;
        at = name + length + 1;
    }
    const fv_explain_map *in = &e->map[*map];
    if (!read_number(&at, &layer)) return false;
    if (!*at) return look_mean(in, layer, head);
    return *at++ == ':' && read_number(&at, &number) && !*at && look(in, is_head, layer, number, head);
}

static fv_status not_found(const fv_explanation *e, const char *name) {
    fv__buf have = {0};
    for (int m = 0; m < e->maps; m++)
        for (int64_t h = 0; h < e->map[m].heads && have.size < 300; h++) {
            const fv_explain_head *head = &e->map[m].head[h];
            if (have.size) fv__buf_text(&have, " ");
            if (m > 0)
                fv__buf_text(&have, e->map[m].id);
            else if (head->id && head->layer < 0)
                fv__buf_text(&have, head->id);
            else if (head->id)
                fv__buf_printf(&have, "%d", head->layer);
            else
                fv__buf_printf(&have, "%d:%d", head->layer, head->head);
        }
    fv_status status =
        fv__fail(FV_USAGE, "explanation: unknown attention matrix\n  expected one of: %s%s\n  found:   \"%s\"",
                 have.size ? have.data : "none, this model has no attention", have.size >= 300 ? " ..." : "", name);
    fv__buf_free(&have);
    return status;
}

/* The head with the least relative entropy; `otherwise` when all look everywhere. */
static int64_t most_focused(const fv_explain_map *map, int64_t otherwise) {
    int64_t best = otherwise;
    for (int64_t h = 0; h < map->heads; h++)
        if (!map->head[h].id && map->head[h].stats.entropy < map->head[best].stats.entropy) best = h;
    return fv__nearly_uniform(map, &map->head[best]) ? otherwise : best;
}

bool fv__first_matrix(const fv_explain_map *map, int64_t *head) {
    if (!look_mean(map, -1, head)) return false;
    if (fv__nearly_uniform(map, &map->head[*head])) *head = most_focused(map, *head);
    return true;
}

fv_status fv_explanation_find(const fv_explanation *e, const char *name, int *map, int64_t *head) {
    if (name && *name) return e->maps && look_named(e, name, map, head) ? FV_OK : not_found(e, name);
    *map = 0;
    return e->maps && fv__first_matrix(&e->map[0], head) ? FV_OK : not_found(e, "");
}
