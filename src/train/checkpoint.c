/* Checkpoints: two generations in turn, each one safetensors file that is replaced atomically and carries a hash of
 * all it holds. A run that is killed at any moment finds at least one whole checkpoint; a damaged one is noticed and
 * passed over. */
#include "io/json.h"
#include "io/tensor_file.h"
#include "train/train.h"

#include <stdio.h>
#include <string.h>

enum { GENERATIONS = 2, ARRAYS = 1 + FV_OPTIMIZER_STATES };

/* Everything that training changes: the weights, and what the optimizer keeps. */
typedef struct arrays {
    fv_named_tensor of[ARRAYS];
    int count;
} arrays;

static arrays arrays_of(fv_optimizer *o) {
    arrays a = {.of = {{"weights", fv_params_flat(fv_optimizer_params(o))}}};
    a.count = 1 + fv_optimizer_state(o, &a.of[1]);
    return a;
}

static uint64_t hash_all(const char *state, const char *fingerprint, const arrays *a) {
    uint64_t hash = fv__hash(state, strlen(state), 1);
    hash = fv__hash(fingerprint, strlen(fingerprint), hash);
    for (int i = 0; i < a->count; i++) {
        const fv_tensor *t = &a->of[i].tensor;
        hash = fv__hash(t->data, (size_t)t->dim[0] * fv_dtype_size(t->dtype), hash);
    }
    return hash;
}

static fv_status path_of(char **path, const char *folder, int generation) {
    return fv__path_join(path, folder, generation ? "last/b.safetensors" : "last/a.safetensors");
}

/* ---- state as text: doubles as bit patterns would be unreadable, so with all digits */

/* clang-format off */
#define STATE_INTS(X) \
    X(updates) X(cursor.epoch) X(cursor.position) X(judged) X(best_update) X(bad) X(loss_count) X(metrics_bytes)
#define STATE_FLOATS(X) \
    X(now.epochs) X(now.updates) X(now.tokens) X(now.seconds) \
    X(before.epochs) X(before.updates) X(before.tokens) X(before.seconds) \
    X(best_value) X(loss_sum)
/* clang-format on */

static fv_status state_to_json(fv__json *o, const fv__state *state) {
#define PUT(field) FV_TRY(fv__json_set(o, #field, fv__json_of_int(state->field)));
    STATE_INTS(PUT)
#undef PUT
#define PUT(field) FV_TRY(fv__json_set(o, #field, fv__json_of_float(state->field)));
    STATE_FLOATS(PUT)
#undef PUT
    char key[64];
    for (int i = 0; i < state->best.count; i++)
        FV_TRY(fv__json_set(o, fv__score_key(key, "best_", state->best.score[i].name),
                            fv__json_of_float(state->best.score[i].value)));
    return FV_OK;
}

/* Sizes and counts: a file whose hash is right may still be made to harm. Only `judged` may be -1, for never. */
static fv_status count_from_json(fv__json_at_file at, const char *key, int64_t *out) {
    const int64_t least = strcmp(key, "judged") == 0 ? -1 : 0, most = INT64_C(1) << 40;
    FV_TRY(fv__json_need_int(at, key, 0, out));
    if (*out >= least && *out <= most) return FV_OK;
    return fv__fail(at.fault, "%s: \"%s\" of the state\n  expected %lld to %lld\n  found:   %lld", at.where, key,
                    (long long)least, (long long)most, (long long)*out);
}

static fv_status state_from_json(fv__json_at_file at, fv__state *state) {
#define GET(field) FV_TRY(count_from_json(at, #field, &state->field));
    STATE_INTS(GET)
#undef GET
#define GET(field) FV_TRY(fv__json_need_float(at, #field, 0, &state->field));
    STATE_FLOATS(GET)
#undef GET
    char key[64];
    for (int i = 0; i < state->best.count; i++) {
        fv_score *s = &state->best.score[i];
        FV_TRY(fv__json_need_float(at, fv__score_key(key, "best_", s->name), 0, &s->value));
    }
    return FV_OK;
}

/* ---- reading one */

typedef struct found {
    fv_tensor_file *file;
    const char *state, *fingerprint;
    arrays array;
    int64_t updates;
} found;

/* The names of what is kept tell optimizers apart. */
static fv_status check_optimizer(const found *f, const char *path, const arrays *own) {
    for (int i = 0; i < own->count; i++) {
        if (fv_tensor_file_count(f->file) == own->count && fv_tensor_file_has(f->file, own->of[i].name)) continue;
        return fv__fail(FV_BAD_MODEL,
                        "%s: the state of another optimizer\n  expected \"%s\" and %d others\n  found:   %lld tensors\n"
                        "  try:     the --optimizer the run began with",
                        path, own->of[i].name, own->count - 1, (long long)fv_tensor_file_count(f->file));
    }
    return FV_OK;
}

static fv_status check(found *f, const char *path, const arrays *own) {
    f->state = fv_tensor_file_metadata(f->file, "state");
    f->fingerprint = fv_tensor_file_metadata(f->file, "about");
    const char *hash = fv_tensor_file_metadata(f->file, "hash");
    char expected[32];
    if (!f->state || !f->fingerprint || !hash)
        return fv__fail(FV_BAD_MODEL,
                        "%s: not a checkpoint\n  expected its state, fingerprint and hash\n  found:   less", path);
    FV_TRY(check_optimizer(f, path, own));
    f->array = *own;
    for (int i = 0; i < own->count; i++) {
        const fv_tensor *mine = &own->of[i].tensor;
        fv_tensor *its = &f->array.of[i].tensor;
        FV_TRY(fv_tensor_file_find(f->file, own->of[i].name, its));
        if (its->dtype != mine->dtype || its->rank != 1 || its->dim[0] != mine->dim[0])
            return fv__fail(FV_BAD_MODEL,
                            "%s: \"%s\" belongs to another model\n  expected %lld numbers\n  found:   %lld", path,
                            own->of[i].name, (long long)mine->dim[0], (long long)its->dim[0]);
    }
    snprintf(expected, sizeof expected, "%016llx", (unsigned long long)hash_all(f->state, f->fingerprint, &f->array));
    if (strcmp(hash, expected) != 0)
        return fv__fail(FV_BAD_MODEL, "%s: is damaged\n  expected hash %s\n  found:   %s", path, hash, expected);
    return FV_OK;
}

static fv_status parse_state(const found *f, const char *path, fv__state *state) {
    fv__json *json;
    FV_TRY(fv__json_parse(&json, f->state, strlen(f->state), path, FV_BAD_MODEL));
    fv_status status = state_from_json((fv__json_at_file){json, path, FV_BAD_MODEL}, state);
    fv__json_free(json);
    return status;
}

/* A row's average cannot be newer than the run. */
static fv_status check_averaged(const found *f, const char *path, int64_t updates) {
    const fv_tensor *rows = &f->array.of[f->array.count - 1].tensor; /* the last state of every optimizer */
    const int64_t *at = rows->data;
    for (int64_t i = 0; i < rows->dim[0]; i++)
        if (at[i] < 0 || at[i] > updates)
            return fv__fail(FV_BAD_MODEL, "%s: \"%s\", element %lld\n  expected 0 to %lld\n  found:   %lld", path,
                            f->array.of[f->array.count - 1].name, (long long)i, (long long)updates, (long long)at[i]);
    return FV_OK;
}

/* Opens generation `g`; a file that is missing or wrong gives a failure and no open file. */
static fv_status open_generation(found *f, const char *folder, int g, const arrays *own) {
    char *path;
    fv__state state = {0};
    memset(f, 0, sizeof *f);
    FV_TRY(path_of(&path, folder, g));
    fv_status status = fv__tensor_file_open(&f->file, path, FV_BAD_MODEL);
    if (status == FV_OK) {
        status = check(f, path, own);
        if (status == FV_OK) status = parse_state(f, path, &state);
        if (status == FV_OK) status = check_averaged(f, path, state.updates);
        if (status != FV_OK) fv_tensor_file_close(f->file);
    }
    f->updates = state.updates;
    if (status != FV_OK) f->file = NULL;
    fv__free(path);
    return status;
}

static bool exists(const char *folder, int g) {
    char *path;
    if (path_of(&path, folder, g) != FV_OK) return false;
    bool there = fv__path_exists(path);
    fv__free(path);
    return there;
}

bool fv_train_can_resume(const char *folder) { return exists(folder, 0) || exists(folder, 1); }

/* ---- saving */

/* The slot that is missing, damaged or older. A damaged file must not count as the newer one. */
static int oldest_slot(const char *folder, const arrays *own) {
    int64_t updates[GENERATIONS];
    for (int g = 0; g < GENERATIONS; g++) {
        found f;
        updates[g] = -1;
        if (!exists(folder, g) || open_generation(&f, folder, g, own) != FV_OK) continue;
        updates[g] = f.updates;
        fv_tensor_file_close(f.file);
    }
    return updates[1] < updates[0];
}

static fv_status dump_state(const fv__state *state, fv__buf *text) {
    fv__json *json = fv__json_object();
    fv_status status = json ? state_to_json(json, state) : FV_NO_RESOURCES;
    if (status == FV_OK) status = fv__json_dump(json, FV_JSON_LINE, text);
    fv__json_free(json);
    return status;
}

static fv_status write(const char *path, const char *state, const char *fingerprint, const arrays *own) {
    char hash[32];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)hash_all(state, fingerprint, own));
    const char *metadata[] = {"state", state, "about", fingerprint, "hash", hash, NULL};
    return fv_safetensors_write(path, own->of, own->count, metadata);
}

fv_status fv__checkpoint_save(const char *folder, int *slot, const fv__state *state, const fv__json *fingerprint,
                              fv_optimizer *o) {
    arrays own = arrays_of(o);
    fv__buf text = {0}, about_text = {0};
    char *path;
    if (*slot < 0) *slot = oldest_slot(folder, &own);
    FV_TRY(path_of(&path, folder, *slot));
    fv_status status = dump_state(state, &text);
    if (status == FV_OK) status = fv__json_dump(fingerprint, FV_JSON_LINE, &about_text);
    if (status == FV_OK) status = write(path, text.data, about_text.data, &own);
    if (status == FV_OK) *slot = !*slot; /* after a failure the same one is tried again: the other is whole */
    fv__buf_free(&text);
    fv__buf_free(&about_text);
    fv__free(path);
    return status;
}

/* ---- loading */

static fv_status take(const found *f, const char *folder, fv__state *state, fv__json **fingerprint, fv_optimizer *o) {
    arrays own = arrays_of(o);
    FV_TRY(parse_state(f, folder, state));
    for (int i = 0; i < own.count; i++) FV_TRY(fv_tensor_copy(&own.of[i].tensor, &f->array.of[i].tensor));
    fv_optimizer_set_steps(o, state->updates);
    return fv__json_parse(fingerprint, f->fingerprint, strlen(f->fingerprint), folder, FV_BAD_MODEL);
}

fv_status fv__checkpoint_load(const char *folder, fv__state *state, fv__json **fingerprint, fv_optimizer *o,
                              char **note) {
    found f[GENERATIONS];
    arrays own = arrays_of(o);
    int best = -1;
    fv_status status = FV_OK;
    *note = NULL;
    if (!fv_train_can_resume(folder))
        return fv__fail(FV_BAD_MODEL,
                        "%s: no checkpoint to resume from\n  expected %s/last/a.safetensors\n  found:   no such file",
                        folder, folder);
    for (int g = 0; g < GENERATIONS; g++) {
        f[g].file = NULL;
        if (!exists(folder, g)) continue;
        fv_status opened = open_generation(&f[g], folder, g, &own);
        if (opened != FV_OK && opened != FV_BAD_MODEL) status = opened;
        if (opened != FV_OK && !*note) *note = fv__strdup(fv_message());
        if (opened == FV_OK && (best < 0 || f[g].updates > f[best].updates)) best = g;
    }
    if (status == FV_OK && best < 0) status = FV_BAD_MODEL; /* the message names the fault of the last one */
    if (status == FV_OK) status = take(&f[best], folder, state, fingerprint, o);
    for (int g = 0; g < GENERATIONS; g++) fv_tensor_file_close(f[g].file);
    return status;
}
