/* app16.c - package descriptions of Debian 12 and the section each belongs to: 16 classes, split by md5 of the source.
 *
 * One package a source (the one named like it, else the shortest name that is not a development, data or debug part),
 * texts of at least 15 words, no text twice. unlabelled.txt holds the descriptions of every package whose source is not
 * in the test split, repeated paragraphs once.
 */
#include "data/recipe/apt.h"
#include "data/recipe/recipe_contract.h"
#include "data/recipe/deb822.h"
#include "data/recipe/md5.h"
#include "data/text.h"

#include <string.h>

enum { MIN_WORDS = 15, BUCKETS = 10, VALID_BUCKET = 8, TEST_BUCKET = 9 };

typedef struct package {
    fv__slice name, source, section, body;
    int bucket;
    int32_t next; /* the next package of the same source, -1 */
} package;

typedef struct work {
    fv__apt apt;
    fv__arena *strings;
    fv__map *english; /* "package\nmd5" -> index of its long description */
    fv__slice *description;
    size_t descriptions, description_room;
    package *package;
    size_t packages, package_room;
    fv__map *sources; /* source -> its first package, in order of appearance */
    fv__map *seen;    /* normalised texts without the package's name */
    fv__map *held;    /* normalised texts of the test split */
    fv__map *paragraphs;
    int32_t *last; /* at the first package of a source: its last one */
    size_t last_capacity;
    int32_t *row; /* chosen packages */
    size_t rows, row_capacity;
    fv__buf scratch, key;
} work;

static fv_status keep(work *w, fv__slice *out, const char *text, size_t size) {
    char *copy = fv__arena_raw(w->strings, size + 1);
    if (!copy) return FV_NO_RESOURCES;
    if (size) memcpy(copy, text, size);
    copy[size] = 0;
    *out = (fv__slice){copy, size};
    return FV_OK;
}

static bool is(fv__slice s, const char *text) { return s.size == strlen(text) && !memcmp(s.text, text, s.size); }

static bool among(fv__slice s, const char *const *list) {
    for (; *list; list++)
        if (is(s, *list)) return true;
    return false;
}

/* ---- fields of a package */

static fv__slice first_word(fv__slice s) {
    size_t length, from = 0, to;
    while (from < s.size && fv__is_space(fv__utf8_next(s.text + from, s.size - from, &length, NULL))) from += length;
    for (to = from; to < s.size; to += length)
        if (fv__is_space(fv__utf8_next(s.text + to, s.size - to, &length, NULL))) break;
    return (fv__slice){s.text + from, to - from};
}

/* "contrib/net" is of section net. */
static fv__slice last_part(fv__slice s) {
    for (size_t i = s.size; i-- > 0;)
        if (s.text[i] == '/') return (fv__slice){s.text + i + 1, s.size - i - 1};
    return s;
}

/* Every `from` becomes `to`, left to right, without overlap. */
static void replace(fv__buf *out, fv__slice s, const char *from, const char *to) {
    size_t size = strlen(from);
    for (size_t i = 0; i < s.size;) {
        bool hit = i + size <= s.size && !memcmp(s.text + i, from, size);
        if (hit)
            fv__buf_text(out, to);
        else
            fv__buf_add(out, s.text + i, 1);
        i += hit ? size : 1;
    }
}

static fv_status keep_body(work *w, fv__slice *out, fv__slice text) {
    w->scratch.size = w->key.size = 0;
    replace(&w->key, text, "\n .\n", "\n\n");
    replace(&w->scratch, (fv__slice){w->key.data, w->key.size}, "\n ", " ");
    FV_TRY(fv__buf_status(&w->key));
    FV_TRY(fv__buf_status(&w->scratch));
    const char *start = w->scratch.data;
    size_t size = fv__text_strip(&start, w->scratch.size);
    return keep(w, out, start, size);
}

static fv_status no_field(const char *field, fv__slice name) {
    return fv__fail(
        FV_BAD_DATA,
        "package index: the entry of \"%.*s\" has no field %s\n  try: remove .apt in this folder and run again",
        (int)name.size, name.size ? name.text : "", field);
}

static void english_key(work *w, fv__slice name, fv__slice md5) {
    w->key.size = 0;
    fv__buf_add(&w->key, name.text, name.size);
    fv__buf_add(&w->key, "\n", 1);
    fv__buf_add(&w->key, md5.text, md5.size);
}

/* ---- reading the indexes */

static fv_status add_description(work *w, const fv__deb822 *stanza) {
    fv__slice name = fv__deb822_get(stanza, "Package"), md5 = fv__deb822_get(stanza, "Description-md5");
    fv__slice text = fv__deb822_get(stanza, "Description-en");
    if (!name.size) return no_field("Package", name);
    if (!md5.text || !text.text) return no_field(md5.text ? "Description-en" : "Description-md5", name);
    FV_TRY(FV_GROW(&w->description, &w->description_room, w->descriptions + 1));
    FV_TRY(keep_body(w, &w->description[w->descriptions], text));
    english_key(w, name, md5);
    FV_TRY(fv__buf_status(&w->key));
    return fv__map_set(w->english, w->key.data, w->key.size, (int64_t)w->descriptions++);
}

/* The long description; the short one of the index where there is none. */
static fv_status find_body(work *w, package *p, const fv__deb822 *stanza) {
    fv__slice md5 = fv__deb822_get(stanza, "Description-md5"), brief = fv__deb822_get(stanza, "Description");
    int64_t index = -1;
    if (md5.text) {
        english_key(w, p->name, md5);
        FV_TRY(fv__buf_status(&w->key));
        index = fv__map_get(w->english, w->key.data, w->key.size, -1);
    }
    if (index >= 0 && w->description[index].size)
        p->body = w->description[index];
    else
        FV_TRY(keep_body(w, &p->body, brief));
    return FV_OK;
}

static fv_status add_package(work *w, const fv__deb822 *stanza) {
    fv__slice name = fv__deb822_get(stanza, "Package"), source = fv__deb822_get(stanza, "Source");
    fv__slice section = fv__deb822_get(stanza, "Section");
    if (!name.size) return no_field("Package", name);
    source = first_word(source.text ? source : name);
    section = section.text ? last_part(section) : (fv__slice){"?", 1};
    FV_TRY(FV_GROW(&w->package, &w->package_room, w->packages + 1));
    package *p = &w->package[w->packages];
    *p = (package){.next = -1, .bucket = fv__md5_mod(source.text, source.size, BUCKETS)};
    FV_TRY(keep(w, &p->name, name.text, name.size));
    FV_TRY(keep(w, &p->source, source.text, source.size));
    FV_TRY(keep(w, &p->section, section.text, section.size));
    FV_TRY(find_body(w, p, stanza));

    int64_t group = fv__map_get(w->sources, source.text, source.size, -1);
    if (group < 0) FV_TRY(fv__map_set(w->sources, source.text, source.size, (int64_t)w->packages));
    size_t slot = group < 0 ? w->packages : (size_t)group; /* `last` is kept at the group's first package */
    FV_TRY(FV_GROW(&w->last, &w->last_capacity, w->packages + 1));
    if (group >= 0) w->package[w->last[slot]].next = (int32_t)w->packages;
    w->last[slot] = (int32_t)w->packages++;
    return FV_OK;
}

static fv_status read_index(work *w, const char *path, fv_status add(work *, const fv__deb822 *)) {
    fv__buf text = {0};
    FV_TRY(fv__apt_read(&w->apt, path, &text));
    fv__deb822 stanza = {.text = text.data, .size = text.size};
    fv_status status = FV_OK;
    while (status == FV_OK && fv__deb822_next(&stanza)) status = add(w, &stanza);
    if (status == FV_OK) status = fv__deb822_status(&stanza);
    fv__deb822_free(&stanza);
    fv__buf_free(&text);
    return status;
}

static fv_status read_indexes(work *w, const char *kind, fv_status add(work *, const fv__deb822 *)) {
    fv__buf paths = {0};
    fv_status status = fv__apt_indexes(&w->apt, kind, &paths);
    for (char *path = paths.data; status == FV_OK && path && *path;) {
        char *end = strchr(path, '\n');
        if (end) *end = 0;
        status = read_index(w, path, add);
        path = end ? end + 1 : NULL;
    }
    fv__buf_free(&paths);
    return status;
}

/* ---- choosing */

/* Is it a part of something (development files, data, translations ...) and not the thing itself? */
static bool is_part(fv__slice name) {
    static const char *const ending[] = {"-dev",    "-doc",      "-docs", "-dbg",   "-dbgsym", "-data",
                                         "-common", "-examples", "-bin",  "-all",   "-full",   "-i18n",
                                         "-udeb",   "-perl",     "-test", "-tests", "-tools",  "-utils"};
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++) {
        size_t size = strlen(ending[i]);
        if (name.size >= size && !memcmp(name.text + name.size - size, ending[i], size)) return true;
    }
    return strstr(name.text, "-l10n");
}

static bool is_program(const package *p) {
    static const char *const other[] = {"debug", "oldlibs",       "localization", "metapackages",
                                        "tasks", "introspection", "virtual",      "debian-installer",
                                        NULL};
    return !among(p->section, other);
}

/* The package that stands for its source, or NULL. */
static const package *choose(const work *w, int64_t first) {
    const package *best[2] = {0}; /* [1]: among all, [0]: among those that are not a part */
    for (int64_t i = first; i >= 0; i = w->package[i].next) {
        const package *p = &w->package[i];
        if (!is_program(p)) continue;
        bool named = p->name.size == p->source.size && !memcmp(p->name.text, p->source.text, p->name.size);
        for (int k = is_part(p->name); k < 2; k++) {
            const package *b = best[k];
            bool b_named = b && b->name.size == b->source.size && !memcmp(b->name.text, b->source.text, b->name.size);
            if (!b || named > b_named || (named == b_named && p->name.size < b->name.size)) best[k] = p;
        }
    }
    return best[0] ? best[0] : best[1];
}

/* Texts that differ in the package's own name only are the same text. */
static fv_status is_new(work *w, const package *p, bool *fresh) {
    fv__buf name = {0};
    w->scratch.size = w->key.size = 0;
    fv__text_lower(&w->scratch, p->body.text, p->body.size);
    fv__text_lower(&name, p->name.text, p->name.size);
    fv_status status = fv__buf_status(&name);
    if (status == FV_OK) replace(&w->key, (fv__slice){w->scratch.data, w->scratch.size}, name.data, "");
    fv__buf_free(&name);
    FV_TRY(status);
    w->scratch.size = 0;
    fv__text_words(&w->scratch, w->key.data, w->key.size);
    FV_TRY(fv__buf_status(&w->key));
    FV_TRY(fv__buf_status(&w->scratch));
    *fresh = fv__map_get(w->seen, w->scratch.data, w->scratch.size, 0) == 0;
    return fv__map_set(w->seen, w->scratch.data, w->scratch.size, 1);
}

static fv_status normal(work *w, const package *p) {
    w->scratch.size = w->key.size = 0;
    fv__text_lower(&w->scratch, p->body.text, p->body.size);
    fv__text_words(&w->key, w->scratch.data, w->scratch.size);
    FV_TRY(fv__buf_status(&w->scratch));
    return fv__buf_status(&w->key);
}

static fv_status choose_rows(work *w) {
    static const char *const sections[] = {"games",    "net",   "sound",       "graphics", "science", "admin",
                                           "text",     "mail",  "editors",     "math",     "web",     "video",
                                           "database", "fonts", "electronics", "hamradio", NULL};
    for (size_t s = 0; s < fv__map_size(w->sources); s++) {
        const package *p = choose(w, fv__map_value(w->sources, s));
        bool fresh = false;
        if (p) FV_TRY(is_new(w, p, &fresh));
        if (!fresh || !among(p->section, sections) || fv__text_count_words(p->body.text, p->body.size) < MIN_WORDS)
            continue;
        FV_TRY(FV_GROW(&w->row, &w->row_capacity, w->rows + 1));
        w->row[w->rows++] = (int32_t)(p - w->package);
        if (p->bucket != TEST_BUCKET) continue;
        FV_TRY(normal(w, p));
        FV_TRY(fv__map_set(w->held, w->key.data, w->key.size, 1));
    }
    return FV_OK;
}

/* ---- writing */

static fv_status save(const char *folder, const char *name, const fv__buf *text) {
    char *path = NULL;
    fv_status status = fv__buf_status(text);
    if (status == FV_OK) status = fv__path_join(&path, folder, name);
    if (status == FV_OK) status = fv__write_file(path, text->data, text->size);
    fv__free(path);
    return status;
}

static bool in_split(int bucket, int split) {
    return split == 1 ? bucket == VALID_BUCKET : split == 2 ? bucket == TEST_BUCKET : bucket < VALID_BUCKET;
}

static fv_status write_split(const work *w, const char *folder, const char *name, int split) {
    fv__buf text = {0};
    fv__buf_text(&text, "label\ttext\n");
    for (size_t i = 0; i < w->rows; i++) {
        const package *p = &w->package[w->row[i]];
        if (!in_split(p->bucket, split)) continue;
        fv__buf_add(&text, p->section.text, p->section.size);
        fv__buf_add(&text, "\t", 1);
        fv__text_one_line(&text, p->body.text, p->body.size);
        fv__buf_add(&text, "\n", 1);
    }
    fv_status status = save(folder, name, &text);
    fv__buf_free(&text);
    return status;
}

/* Appends the paragraphs of a text that no earlier text had. */
static fv_status fresh_paragraphs(work *w, const package *p) {
    w->scratch.size = 0;
    const char *at = p->body.text, *end = at + p->body.size;
    while (at < end) {
        const char *gap = strstr(at, "\n\n"), *stop = gap ? gap : end;
        size_t size = (size_t)(stop - at);
        if (size && !fv__map_get(w->paragraphs, at, size, 0)) {
            FV_TRY(fv__map_set(w->paragraphs, at, size, 1));
            if (w->scratch.size) fv__buf_add(&w->scratch, " ", 1);
            fv__buf_add(&w->scratch, at, size);
        }
        at = gap ? gap + 2 : end;
    }
    return fv__buf_status(&w->scratch);
}

static fv_status add_unlabelled(work *w, fv__buf *text) {
    for (size_t i = 0; i < w->packages; i++) {
        const package *p = &w->package[i];
        if (p->bucket == TEST_BUCKET) continue;
        FV_TRY(normal(w, p));
        if (fv__map_get(w->held, w->key.data, w->key.size, 0)) continue;
        FV_TRY(fresh_paragraphs(w, p));
        if (!w->scratch.size) continue;
        fv__text_one_line(text, w->scratch.data, w->scratch.size);
        fv__buf_add(text, "\n", 1);
    }
    return FV_OK;
}

static fv_status write_all(work *w, const char *folder) {
    FV_TRY(write_split(w, folder, "train.tsv", 0));
    FV_TRY(write_split(w, folder, "valid.tsv", 1));
    FV_TRY(write_split(w, folder, "test.tsv", 2));
    fv__buf text = {0};
    fv_status status = add_unlabelled(w, &text);
    if (status == FV_OK) status = save(folder, "unlabelled.txt", &text);
    fv__buf_free(&text);
    return status;
}

static fv_status run(work *w, const char *folder) {
    FV_TRY(fv__arena_create(&w->strings));
    fv__map **maps[] = {&w->english, &w->sources, &w->seen, &w->held, &w->paragraphs};
    for (int i = 0; i < 5; i++) FV_TRY(fv__map_create(maps[i]));
    FV_TRY(fv__apt_open(&w->apt, folder, "bookworm"));
    fv__log(FV_LOG_INFO, "data: reading the indexes");
    FV_TRY(read_indexes(w, "Translations", add_description));
    FV_TRY(read_indexes(w, "Packages", add_package));
    fv__log(FV_LOG_INFO, "data: %zu packages of %zu sources: choosing", w->packages, fv__map_size(w->sources));
    FV_TRY(choose_rows(w));
    if (!w->rows)
        return fv__fail(FV_BAD_DATA, "package index: no description of an application in %zu packages", w->packages);
    return write_all(w, folder);
}

static fv_status make(const char *folder) {
    work w = {0};
    fv_status status = run(&w, folder);
    fv__map *maps[] = {w.english, w.sources, w.seen, w.held, w.paragraphs};
    for (int i = 0; i < 5; i++) fv__map_free(maps[i]);
    fv__arena_free(w.strings);
    fv__buf_free(&w.scratch);
    fv__buf_free(&w.key);
    fv__free(w.description);
    fv__free(w.package);
    fv__free(w.last);
    fv__free(w.row);
    fv__apt_close(&w.apt);
    return status;
}

static const char *const files[] = {"train.tsv", "valid.tsv", "test.tsv", "unlabelled.txt", NULL};
static const char *const known[] = {"dce5bee198cd90d905310d77c1945898", "28a06399d3e4bfe2909b7f5b6417b717",
                                    "ed032d40266e454149bc046b7b1ce583", "593ea2f1596f03aa204a10426ed6c97c"};

const fv__recipe fv__recipe_app16 = {
    .info = {"app16", "package descriptions of Debian 12, 16 sections (7,361 texts, 40 MB of indexes through apt-get)",
             "each description has the licence of its package; not to be passed on as one work"},
    .files = files,
    .known_md5 = known,
    .about =
        "app16: descriptions of Debian 12's packages and the section each belongs to\n\n"
        "train.tsv, valid.tsv, test.tsv: a header, then section TAB description. 16 sections: admin database editors\n"
        "electronics fonts games graphics hamradio mail math net science sound text video web.\n"
        "One package a source, at least 15 words, no text twice. The split goes by md5(source) modulo 10: 8 is valid,\n"
        "9 is test. unlabelled.txt: one description a line, of all packages whose source is not in the test split.\n"
        "CHECKSUMS can be checked with md5sum -c. The folder .apt holds the indexes and may be removed.\n\n"
        "Licence: the texts come from the package indexes of Debian main; each is under the licence of its package\n"
        "(/usr/share/doc/PACKAGE/copyright). They are rebuilt here from Debian's archive, not distributed with "
        "fovea.\n",
    .make = make};
