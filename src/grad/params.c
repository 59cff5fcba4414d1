/* Parameters: named tensors in one block of values and one of gradients, so that an optimizer walks over an array and a
 * checkpoint is one write. Initial values are functions of (seed, name, element): adding a parameter changes no
 * other. */
#include "grad/graph.h"
#include "io/tensor_file.h"

#include <math.h>
#include <string.h>

enum { ALIGNED = 16 }; /* elements: every parameter starts on a 64-byte line (f32) */

typedef struct entry {
    char *name;
    int rank;
    int64_t dim[FV_MAX_DIMS];
    int64_t offset, count;
    uint32_t flags;
    bool *is_touched;      /* (rows) FV_PARAM_SPARSE: has a gradient since the last zero; NULL until one has */
    int32_t *touched;      /* (rows) those, in the order of arrival */
    int64_t touched_count; /* -1: every row */
} entry;

struct fv_params {
    fv_dtype dtype;
    uint64_t seed;
    fv__arena *arena; /* names and layers */
    fv__map *index;   /* name -> entry */
    entry *entries;
    size_t count, entry_capacity;
    void *values, *grads;
    int64_t used;                   /* elements, gaps included */
    size_t value_bytes;             /* room in `values` */
    const fv_tensor_file *expected; /* NULL, or where the values will come from */
};

fv_status fv_params_create(fv_params **out, fv_dtype dtype, uint64_t seed) {
    *out = NULL;
    if (dtype != FV_F32 && dtype != FV_F64)
        return fv__fail(FV_USAGE, "fv_params_create: dtype\n  expected f32 or f64\n  found:   %s",
                        fv_dtype_name(dtype));
    fv_params *params = fv__alloc(sizeof *params);
    if (!params) return FV_NO_RESOURCES;
    params->dtype = dtype;
    params->seed = seed;
    fv_status status = fv__arena_create(&params->arena);
    if (status == FV_OK) status = fv__map_create(&params->index);
    if (status != FV_OK) {
        fv_params_free(params);
        return status;
    }
    *out = params;
    return FV_OK;
}

void fv_params_free(fv_params *params) {
    if (!params) return;
    fv__arena_free(params->arena);
    fv__map_free(params->index);
    for (size_t i = 0; i < params->count; i++) {
        fv__free(params->entries[i].is_touched);
        fv__free(params->entries[i].touched);
    }
    fv__free(params->entries);
    fv__free(params->values);
    fv__free(params->grads);
    fv__free(params);
}

static void set(fv_params *params, int64_t at, double value) {
    if (params->dtype == FV_F32)
        ((float *)params->values)[at] = (float)value;
    else
        ((double *)params->values)[at] = value;
}

/* fan_in is the last axis, fan_out the first: [out, in], as in a linear layer. */
static double xavier_bound(const entry *e, double gain) {
    int64_t in = e->dim[e->rank - 1], out = e->dim[0];
    return in + out > 0 ? gain * sqrt(6.0 / (double)(in + out)) : 0;
}

static void initialise(fv_params *params, const entry *e, fv_init init) {
    uint64_t stream = fv__hash(e->name, strlen(e->name), 0);
    double bound = init.kind == FV_INIT_XAVIER ? xavier_bound(e, init.scale) : init.scale;
    for (int64_t i = 0; i < e->count; i++) {
        double value = 0;
        switch (init.kind) {
        case FV_INIT_ZEROS: break;
        case FV_INIT_ONES: value = 1; break;
        case FV_INIT_NORMAL: value = bound * fv__random_normal(params->seed, stream, (uint64_t)i); break;
        case FV_INIT_UNIFORM:
        case FV_INIT_XAVIER: value = bound * (2 * fv__random_uniform(params->seed, stream, (uint64_t)i) - 1); break;
        }
        set(params, e->offset + i, value);
    }
}

/* Room for `count` more elements; the block doubles, so adding many parameters stays linear. */
static fv_status make_room(fv_params *params, int64_t count) {
    size_t need, total, bytes;
    if (!fv__add_ok((size_t)count, ALIGNED - 1, &need) || !fv__add_ok((size_t)params->used, need, &total) ||
        !fv__mul_ok(total, fv_dtype_size(params->dtype), &bytes))
        return fv__fail(FV_NO_RESOURCES, "parameters: sizes overflow");
    if (bytes > params->value_bytes) {
        size_t grown = params->value_bytes * 2 > bytes ? params->value_bytes * 2 : bytes;
        void *values = fv__realloc(params->values, params->value_bytes, grown);
        if (!values) return FV_NO_RESOURCES;
        params->values = values;
        params->value_bytes = grown;
    }
    fv__free(params->grads); /* taken again, in the new size, when they are needed */
    params->grads = NULL;
    return FV_OK;
}

static fv_status describe(const fv_params *params, entry *e, const char *name, int rank, const int64_t *dim) {
    if (rank < 1 || rank > FV_MAX_DIMS)
        return fv__fail(FV_USAGE, "parameter %s: rank\n  expected 1 to %d\n  found:   %d", name, FV_MAX_DIMS, rank);
    if (fv_params_find(params, name) >= 0)
        return fv__fail(FV_USAGE, "parameter %s\n  expected a new name\n  found:   one of that name", name);
    size_t bytes;
    if (!fv__size_of(dim, rank, fv_dtype_size(params->dtype), &bytes))
        return fv__fail(FV_USAGE, "parameter %s: a size is negative or their product overflows", name);
    e->rank = rank;
    memcpy(e->dim, dim, (size_t)rank * sizeof *dim);
    e->count = (int64_t)(bytes / fv_dtype_size(params->dtype));
    return FV_OK;
}

void fv__params_expect(fv_params *params, const fv_tensor_file *file) { params->expected = file; }

static fv_status check_expected(const fv_params *params, const entry *e, const char *name) {
    fv_tensor shape = fv_tensor_of(NULL, params->dtype, e->rank, e->dim), found;
    return params->expected ? fv__tensor_file_need(params->expected, name, &shape, &found) : FV_OK;
}

fv_status fv_params_add(fv_params *params, const char *name, int rank, const int64_t *dim, fv_init init, uint32_t flags,
                        int *index) {
    entry e = {.flags = flags, .offset = params->used};
    FV_TRY(describe(params, &e, name, rank, dim));
    FV_TRY(check_expected(params, &e, name));
    FV_TRY(FV_GROW(&params->entries, &params->entry_capacity, params->count + 1));
    FV_TRY(make_room(params, e.count));
    e.name = fv__arena_raw(params->arena, strlen(name) + 1);
    if (!e.name) return FV_NO_RESOURCES;
    memcpy(e.name, name, strlen(name) + 1);
    FV_TRY(fv__map_set(params->index, name, strlen(name), (int64_t)params->count));
    if (!params->expected) initialise(params, &e, init);
    params->used += (e.count + ALIGNED - 1) / ALIGNED * ALIGNED;
    params->entries[params->count] = e;
    if (index) *index = (int)params->count;
    params->count++;
    return FV_OK;
}

int fv_params_count(const fv_params *params) { return params ? (int)params->count : 0; }

fv_param fv_params_get(const fv_params *params, int index) {
    if (index < 0 || (size_t)index >= params->count) return (fv_param){.name = ""};
    const entry *e = &params->entries[index];
    size_t size = fv_dtype_size(params->dtype);
    fv_param p = {.name = e->name, .offset = e->offset, .flags = e->flags};
    p.value = fv_tensor_of(fv__at(params->values, e->offset, size), params->dtype, e->rank, e->dim);
    p.grad = p.value;
    p.grad.data = params->grads ? fv__at(params->grads, e->offset, size) : NULL;
    p.touched = e->touched;
    p.touched_count = e->flags & FV_PARAM_SPARSE ? e->touched_count : -1;
    return p;
}

int fv_params_find(const fv_params *params, const char *name) {
    return (int)fv__map_get(params->index, name, strlen(name), -1);
}

void fv_params_set_flags(fv_params *params, int index, uint32_t flags) {
    if (index < 0 || (size_t)index >= params->count) return;
    entry *e = &params->entries[index];
    bool new_table = (flags & FV_PARAM_SPARSE) && !(e->flags & FV_PARAM_SPARSE);
    e->flags = flags;
    if (new_table && params->grads) fv__params_untouch(params, index), e->touched_count = -1; /* nobody took notes */
}

int64_t fv_params_elements(const fv_params *params, bool trainable_only) {
    int64_t total = 0;
    for (size_t i = 0; i < params->count; i++)
        if (!trainable_only || !(params->entries[i].flags & FV_PARAM_FROZEN)) total += params->entries[i].count;
    return total;
}

fv_status fv_params_grads(fv_params *params) {
    if (params->grads) return FV_OK;
    for (size_t i = 0; i < params->count; i++) fv__params_untouch(params, (int)i);
    params->grads = fv__alloc_array((size_t)params->used, fv_dtype_size(params->dtype));
    return params->grads ? FV_OK : FV_NO_RESOURCES;
}

void fv_params_zero_grads(fv_params *params) {
    if (params->grads) memset(params->grads, 0, (size_t)params->used * fv_dtype_size(params->dtype));
    for (int i = 0; i < fv_params_count(params); i++) fv__params_untouch(params, i);
}

/* ---- rows with a gradient */

static fv_status take_marks(entry *e) {
    if (e->touched) return FV_OK;
    e->is_touched = fv__alloc_array((size_t)e->dim[0], sizeof *e->is_touched);
    e->touched = fv__alloc_array((size_t)e->dim[0], sizeof *e->touched);
    if (e->is_touched && e->touched) return FV_OK;
    fv__free(e->is_touched);
    fv__free(e->touched);
    e->is_touched = NULL, e->touched = NULL;
    return FV_NO_RESOURCES;
}

fv_status fv__params_touch(fv_params *params, int index, const int32_t *rows, int64_t count) {
    entry *e = &params->entries[index];
    if (!(e->flags & FV_PARAM_SPARSE) || (e->flags & FV_PARAM_FROZEN) || e->touched_count < 0) return FV_OK;
    FV_TRY(take_marks(e));
    for (int64_t i = 0; rows && i < count; i++) {
        if (e->is_touched[rows[i]]) continue;
        e->is_touched[rows[i]] = true;
        e->touched[e->touched_count++] = rows[i];
    }
    if (!rows) fv__params_untouch(params, index), e->touched_count = -1;
    return FV_OK;
}

void fv__params_untouch(fv_params *params, int index) {
    entry *e = &params->entries[index];
    for (int64_t i = 0; i < e->touched_count; i++) e->is_touched[e->touched[i]] = false;
    e->touched_count = 0;
}

/* ---- the blocks */

fv_tensor fv_params_flat(const fv_params *params) { return fv_tensor_1d(params->values, params->dtype, params->used); }

fv_tensor fv_params_flat_grads(const fv_params *params) {
    return fv_tensor_1d(params->grads, params->dtype, params->used);
}

void *fv__params_memory(fv_params *params, size_t bytes) { return fv__arena_alloc(params->arena, bytes); }

fv_dtype fv__params_dtype(const fv_params *params) { return params->dtype; }
