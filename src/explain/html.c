/* html: one file that opens from disk and asks the network for nothing. docs/explorer-format.md is the contract with
 * the page's program; this file writes fv-meta and puts the parts together. Text from data appears only as JSON
 * strings in which `<` is escaped, so it cannot close the element it is in. */
#include "explain/blocks.h"
#include "explain/page.h"
#include "io/json.h"

#include <math.h>
#include <string.h>

enum { CLASSES_SENT = 20 };

/* ---- JSON by hand: the page's meta is written once, in one order */

static void text(fv__buf *out, const char *value, size_t size) { fv__json_quote(out, value, size, FV_JSON_HTML); }

static void member_text(fv__buf *out, const char *name, const char *value) {
    fv__buf_printf(out, "\"%s\":", name);
    text(out, value, strlen(value));
}

static void number(fv__buf *out, double value) {
    if (isfinite(value))
        fv__buf_printf(out, "%.7g", value);
    else
        fv__buf_text(out, "null");
}

static void boolean(fv__buf *out, const char *name, bool value) {
    fv__buf_printf(out, ",\"%s\":%s", name, value ? "true" : "false");
}

static void comma(fv__buf *out, int64_t index) {
    if (index) fv__buf_text(out, ",");
}

/* ---- classes: with many only the most probable are sent, and those something else speaks about */

typedef struct sent {
    int32_t *place;
    int32_t count;
} sent; /* place[c]: index in the page, -1 when left out */

static bool is_spoken_of(const fv_explanation *e, int32_t c) {
    for (int a = 0; a < e->attributions; a++)
        if (e->attribution[a].of_class == c) return true;
    return c == e->predicted || c == e->expected;
}

static fv_status choose_classes(sent *s, const fv_explanation *e) {
    s->place = fv__alloc_array((size_t)e->classes, sizeof *s->place);
    if (!s->place) return FV_NO_RESOURCES;
    for (int32_t c = 0; c < e->classes; c++) {
        int32_t better = 0;
        for (int32_t o = 0; o < e->classes; o++) {
            double p = e->class_of[o].probability, mine = e->class_of[c].probability;
            better += p > mine || (p == mine && o < c);
        }
        s->place[c] = better < CLASSES_SENT || is_spoken_of(e, c) ? s->count++ : -1;
    }
    return FV_OK;
}

static void add_prediction(fv__buf *out, const fv_explanation *e, const sent *s) {
    double omitted = 0;
    fv__buf_text(out, ",\n\"prediction\":{\"classes\":[");
    for (int32_t c = 0; c < e->classes; c++) {
        if (s->place[c] < 0) {
            omitted += e->class_of[c].probability;
            continue;
        }
        comma(out, s->place[c]);
        fv__buf_text(out, "{");
        member_text(out, "name", e->class_of[c].name);
        fv__buf_text(out, ",\"probability\":");
        number(out, e->class_of[c].probability);
        fv__buf_text(out, ",\"logit\":");
        number(out, e->class_of[c].logit);
        fv__buf_text(out, "}");
    }
    fv__buf_printf(out, "],\"predicted\":%d", s->place[e->predicted]);
    if (e->expected >= 0) fv__buf_printf(out, ",\"expected\":%d", s->place[e->expected]);
    if (s->count < e->classes) {
        fv__buf_printf(out, ",\"omitted\":%d,\"omitted_probability\":", e->classes - s->count);
        number(out, omitted);
    }
    fv__buf_text(out, "}");
}

/* ---- sequences */

static void add_starts(fv__buf *out, const fv_explain_sequence *s) {
    fv__buf_text(out, ",\"start\":[");
    for (int64_t i = 0; i < s->count; i++) fv__buf_printf(out, "%s%lld", i ? "," : "", (long long)s->token[i].start);
    fv__buf_text(out, "],\"end\":[");
    for (int64_t i = 0; i < s->count; i++) fv__buf_printf(out, "%s%lld", i ? "," : "", (long long)s->token[i].end);
    fv__buf_text(out, "],\"word\":[");
    for (int64_t i = 0; i < s->count; i++) fv__buf_printf(out, "%s%d", i ? "," : "", s->token[i].word);
    fv__buf_text(out, "],\"special\":[");
    for (int64_t i = 0, n = 0; i < s->count; i++)
        if (s->token[i].special) fv__buf_printf(out, "%s%lld", n++ ? "," : "", (long long)i);
    fv__buf_text(out, "],\"unknown\":[");
    for (int64_t i = 0, n = 0; i < s->count; i++)
        if (s->token[i].unknown) fv__buf_printf(out, "%s%lld", n++ ? "," : "", (long long)i);
    fv__buf_text(out, "],\"piece\":[");
    for (int64_t i = 0; i < s->count; i++) {
        comma(out, i);
        text(out, s->token[i].piece, strlen(s->token[i].piece));
    }
    fv__buf_text(out, "]");
}

/* Positions without a text are a text without bytes: then the pieces are the captions. */
static void add_sequence(fv__buf *out, const fv_explain_sequence *s) {
    fv__buf_text(out, "{\"kind\":\"text\",");
    member_text(out, "caption", s->caption);
    fv__buf_text(out, ",\"text\":");
    text(out, s->text ? s->text : "", s->size);
    add_starts(out, s);
    if (s->truncated) boolean(out, "truncated", true);
    fv__buf_text(out, "}");
}

static void add_attribution(fv__buf *out, const fv_explanation *e, const fv_attribution *a, const sent *s) {
    fv__buf_text(out, "{");
    member_text(out, "id", a->id);
    fv__buf_text(out, ",");
    member_text(out, "caption", a->caption);
    fv__buf_printf(out, ",\"sequence\":%d", a->sequence);
    if (a->of_class >= 0) fv__buf_printf(out, ",\"class\":%d", s->place[a->of_class]);
    boolean(out, "signed", a->is_signed);
    fv__buf_text(out, ",");
    member_text(out, "about", a->about);
    fv__buf_text(out, ",\"values\":[");
    for (int64_t i = 0; i < e->sequence[a->sequence].count; i++) {
        comma(out, i);
        number(out, a->value[i]);
    }
    fv__buf_text(out, "]}");
}

/* ---- maps */

/* What a statistic needs to mean something. */
typedef enum needs { ANY_MAP, SAME_AXES, SPECIALS } needs;
static const struct {
    const char *id, *caption, *unit, *about;
    size_t offset;
    needs needs;
} statistics[] = {
#define STAT(id, field, needs, caption, unit, about) \
    { id, caption, unit, about, offsetof(fv_head_stats, field), needs }
    STAT("entropy", entropy_bits, ANY_MAP, "Entropy", "bits", "how spread out the rows are, on average"),
    STAT("focus", entropy, ANY_MAP, "Entropy, relative", "share",
         "entropy as a share of the largest possible over the visible keys"),
    STAT("diagonal", diagonal, SAME_AXES, "Own position", "share", "weight on the query's own position"),
    STAT("previous", previous, SAME_AXES, "Previous", "share", "weight on the position before the query"),
    STAT("next", next, SAME_AXES, "Next", "share", "weight on the position after the query"),
    STAT("first", first, SAME_AXES, "First", "share", "weight on the first position"),
    STAT("special", special, SPECIALS, "Special tokens", "share", "weight on tokens that are not in the text"),
    STAT("distance", distance, SAME_AXES, "Distance", "tokens", "mean distance between query and key"),
    STAT("max", max, ANY_MAP, "Largest", "share", "largest weight of a row"),
#undef STAT
};

static bool means_something(needs what, const fv_explanation *e, const fv_explain_map *map) {
    bool specials = false;
    const fv_explain_sequence *key = &e->sequence[map->key];
    for (int64_t i = 0; i < key->count; i++) specials |= key->token[i].special;
    return what == SAME_AXES ? map->query == map->key && key->count > 1 : what == SPECIALS ? specials : true;
}

static void add_heads(fv__buf *out, const fv_explain_map *map) {
    fv__buf_text(out, ",\n \"heads\":[");
    for (int64_t n = 0; n < map->heads; n++) {
        const fv_explain_head *h = &map->head[n];
        int members = 0;
        comma(out, n);
        fv__buf_text(out, "{");
        if (h->layer >= 0) fv__buf_printf(out, "%s\"layer\":%d", members++ ? "," : "", h->layer);
        if (h->head >= 0) fv__buf_printf(out, "%s\"head\":%d", members++ ? "," : "", h->head);
        if (h->id) {
            comma(out, members++);
            member_text(out, "id", h->id);
        }
        if (h->caption) {
            comma(out, members++);
            member_text(out, "caption", h->caption);
        }
        fv__buf_text(out, "}");
    }
    fv__buf_text(out, "]");
}

/* Where rows do not sum to one, weights are no shares: their numbers have no unit. */
static void add_statistics(fv__buf *out, const fv_explanation *e, const fv_explain_map *map) {
    fv__buf_text(out, ",\n \"stats\":[");
    for (size_t s = 0, count = 0; s < sizeof statistics / sizeof *statistics; s++) {
        if (!means_something(statistics[s].needs, e, map)) continue;
        bool share = !strcmp(statistics[s].unit, "share") && strcmp(statistics[s].id, "focus") != 0;
        fv__buf_printf(out, "%s{\"id\":\"%s\",\"caption\":\"%s\",\"unit\":\"%s\",\"about\":\"%s\",\"values\":[",
                       count++ ? "," : "", statistics[s].id, statistics[s].caption,
                       share && !map->normalised ? "" : statistics[s].unit, statistics[s].about);
        for (int64_t n = 0; n < map->heads; n++) {
            double value;
            memcpy(&value, (const char *)&map->head[n].stats + statistics[s].offset, sizeof value);
            comma(out, n);
            number(out, value);
        }
        fv__buf_text(out, "]}");
    }
    fv__buf_text(out, "]");
}

/* The largest weight of each matrix: what a thumbnail's shades are shares of. */
static void add_peaks(fv__buf *out, const fv_explanation *e, const fv_explain_map *map) {
    int64_t size = e->sequence[map->query].count * e->sequence[map->key].count;
    fv__buf_text(out, ",\n \"peaks\":[");
    for (int64_t n = 0; n < map->heads; n++) {
        comma(out, n);
        number(out, fv__largest(map->head[n].weight, size));
    }
    fv__buf_text(out, "]");
}

static void add_map(fv__buf *out, const fv_explanation *e, const fv_explain_map *map, const fv__map_blocks *blocks) {
    fv__buf_text(out, "{");
    member_text(out, "id", map->id);
    fv__buf_text(out, ",");
    member_text(out, "caption", map->caption);
    fv__buf_printf(out, ",\"query\":%d,\"key\":%d", map->query, map->key);
    boolean(out, "normalised", map->normalised);
    boolean(out, "causal", map->causal);
    fv__buf_printf(out, ",\"select\":%lld", (long long)blocks->select);
    if (blocks->thumb.size)
        fv__buf_printf(out, ",\"thumb\":[%lld,%lld]", (long long)blocks->rows, (long long)blocks->columns);
    if (blocks->top) fv__buf_printf(out, ",\"top\":%lld", (long long)blocks->top);
    add_peaks(out, e, map);
    add_heads(out, map);
    add_statistics(out, e, map);
    fv__buf_text(out, "}");
}

/* ---- the whole */

static void add_model(fv__buf *out, const fv_explanation *e) {
    fv__buf_text(out, ",\n\"model\":{");
    member_text(out, "name", e->model);
    if (e->kind[0]) fv__buf_text(out, ","), member_text(out, "kind", e->kind);
    if (e->mechanism[0]) fv__buf_text(out, ","), member_text(out, "attention", e->mechanism);
    if (e->parameters) fv__buf_printf(out, ",\"parameters\":%lld", (long long)e->parameters);
    if (e->d_model) fv__buf_printf(out, ",\"width\":%lld", (long long)e->d_model);
    fv__buf_text(out, "}");
}

static void add_provenance(fv__buf *out, const fv_explanation *e) {
    fv__buf_text(out, ",\n\"provenance\":[");
    for (int i = 0; i < e->notes; i++) {
        fv__buf_text(out, i ? ",[" : "[");
        text(out, e->note[i].caption, strlen(e->note[i].caption));
        fv__buf_text(out, ",");
        text(out, e->note[i].value, strlen(e->note[i].value));
        fv__buf_text(out, "]");
    }
    fv__buf_text(out, "]");
}

static void build_meta(fv__buf *out, const fv_explanation *e, const sent *s, const fv__map_blocks *blocks,
                       bool compress) {
    fv__buf_text(out, "<script type=\"application/json\" id=\"fv-meta\">{\"format\":\"fovea-explorer\",\"version\":1,");
    member_text(out, "title", e->title);
    if (*e->task) {
        fv__buf_text(out, ",");
        member_text(out, "task", e->task);
    }
    add_model(out, e);
    add_provenance(out, e);
    if (e->predicted >= 0) add_prediction(out, e, s);
    fv__buf_printf(out, ",\n\"compression\":\"%s\",\n\"sequences\":[", compress ? "deflate" : "none");
    for (int i = 0; i < e->sequences; i++) comma(out, i), add_sequence(out, &e->sequence[i]);
    fv__buf_text(out, "],\n\"attributions\":[");
    for (int i = 0; i < e->attributions; i++) comma(out, i), add_attribution(out, e, &e->attribution[i], s);
    fv__buf_text(out, "],\n\"maps\":[");
    for (int i = 0; i < e->maps; i++) comma(out, i), add_map(out, e, &e->map[i], &blocks[i]);
    fv__buf_text(out, "]}</script>\n");
}

static void write_blocks(fv__sink *sink, const fv__map_blocks *blocks, int maps) {
    for (int m = 0; m < maps; m++) {
        fv__sink_buf(sink, &blocks[m].thumb);
        for (int64_t n = 0; n < blocks[m].heads; n++) {
            fv__sink_buf(sink, &blocks[m].matrix[n].exact);
            fv__sink_buf(sink, &blocks[m].matrix[n].full);
            fv__sink_buf(sink, &blocks[m].matrix[n].top);
        }
    }
}

/* What draw gathers before anything is written. */
typedef struct page {
    sent classes;
    fv__head_choice first;
    fv__map_blocks *blocks;
    size_t budget;
} page;

/* The meta is built twice: first for its size, then with what was chosen for the rest of the budget. */
static fv_status assemble(const fv_explanation *e, page *p, bool compress, fv__sink *sink) {
    fv__page_part before = fv__page_part_before(), after = fv__page_part_after();
    fv__buf meta = {0};
    build_meta(&meta, e, &p->classes, p->blocks, compress);
    size_t fixed = before.size + after.size + meta.size, left = p->budget > fixed ? p->budget - fixed : 0;
    meta.size = 0;
    fv_status status = fv__buf_status(&meta);
    if (status == FV_OK) status = fv__blocks_make(p->blocks, e, &p->first, left, compress);
    if (status == FV_OK) {
        build_meta(&meta, e, &p->classes, p->blocks, compress);
        fv__sink_add(sink, before.bytes, before.size);
        fv__sink_buf(sink, &meta);
        write_blocks(sink, p->blocks, e->maps);
        fv__sink_add(sink, after.bytes, after.size);
    }
    fv__buf_free(&meta);
    return status;
}

/* The page opens on the matrix that is asked for, otherwise on the one the other renderers draw. */
static fv_status prepare(page *p, const fv_explanation *e, const fv_render_options *options) {
    FV_TRY(fv__parse_bytes(options->max_size ? options->max_size : "16M", &p->budget));
    if (options->full) FV_TRY(fv__head_choice_parse(&p->first, options->full));
    FV_TRY(choose_classes(&p->classes, e));
    p->blocks = fv__alloc_array((size_t)e->maps, sizeof *p->blocks);
    if (!p->blocks) return FV_NO_RESOURCES;
    if (e->maps == 0) return FV_OK;
    int map;
    int64_t head;
    FV_TRY(fv_explanation_find(e, options->matrix, &map, &head));
    for (int m = 0; m < e->maps; m++) fv__first_matrix(&e->map[m], &p->blocks[m].select);
    p->blocks[map].select = head;
    return FV_OK;
}

static fv_status draw(const fv_explanation *e, const fv_render_options *options, fv__sink *sink) {
    page p = {0};
    fv_status status = prepare(&p, e, options);
    if (status == FV_OK) status = assemble(e, &p, options->compress, sink);
    fv__blocks_free(p.blocks, e->maps);
    fv__head_choice_free(&p.first);
    fv__free(p.blocks);
    fv__free(p.classes.place);
    return status;
}

const fv__renderer fv__renderer_html = {
    {"html", ".html", "one page to explore all heads, opens from disk without network"}, false, draw};
