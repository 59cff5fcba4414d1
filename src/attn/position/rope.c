/* Rotary embedding: what can be wrong with a call, and the table it rotates by. The rotation is in rope_rotate.c, the
 * angles in rope_angles.c. */
#include "attn/position/rope_call.h"

#include "tensor/dtype.h"

static fv_status wrong(const char *what, const fv_tensor *found, const char *expected) {
    char text[128];
    fv_tensor_describe(found, text, sizeof text);
    return fv__fail(FV_USAGE, "rope: %s\n  expected %s\n  found:   %s", what, expected, text);
}

fv_status fv__rope_need(const void *pointer, const char *what) {
    if (pointer) return FV_OK;
    return fv__fail(FV_USAGE, "rope: %s\n  expected a pointer to it\n  found:   NULL", what);
}

static fv_status check_tensors(const fv_tensor *from, const fv_tensor *to) {
    size_t bytes;
    FV_TRY(fv__rope_need(from, "the tensor to rotate"));
    FV_TRY(fv__rope_need(to, "the tensor to write"));
    if (from->rank != 4) return wrong("the tensor to rotate", from, "(B,H,L,D)");
    if (!fv__dtype_is_float(from->dtype)) return wrong("the tensor to rotate", from, "dtype f32, f64, bf16 or f16");
    if (!fv__size_of(from->dim, 4, 8, &bytes))
        return wrong("the tensor to rotate", from, "dimensions that fit in memory");
    if (!fv_tensor_same_shape(from, to) || from->dtype != to->dtype)
        return wrong("the tensor to write", to, "shape and dtype of the one to read");
    if ((!from->data || !to->data) && fv_tensor_count(from) > 0) return wrong("a tensor", from, "data");
    return FV_OK;
}

/* (L) or (B|1,L) as (B|1,L) */
static fv_status read_position(const fv_tensor *given, const fv_tensor *x, fv_tensor *position) {
    *position = *given;
    if (!given->rank) return FV_OK;
    if (given->dtype != FV_I32 && given->dtype != FV_I64) return wrong("positions", given, "dtype i32 or i64");
    if (given->rank == 1) {
        position->rank = 2, position->dim[0] = 1, position->stride[0] = 0;
        position->dim[1] = given->dim[0], position->stride[1] = given->stride[0];
    }
    if (position->rank != 2 || position->dim[1] != x->dim[2] ||
        (position->dim[0] != 1 && position->dim[0] != x->dim[0]))
        return wrong("positions", given, "(L) or (B|1,L)");
    if (!given->data && fv_tensor_count(given) > 0) return wrong("positions", given, "data");
    return FV_OK;
}

static fv_status outside(int64_t found, int64_t rows) {
    return fv__fail(FV_USAGE, "rope: position\n  expected 0 to %lld, the rows of the tables\n  found:   %lld",
                    (long long)rows - 1, (long long)found);
}

/* Tables of the caller, checked against the tensor and the positions. */
static fv_status read_tables(const fv_rope_options *o, const fv_tensor *x, int64_t pairs, fv__rope_table *table) {
    const fv_tensor *c = &o->cosine, *s = &o->sine;
    if (!fv__dtype_is_float(c->dtype) || !fv__dtype_is_float(s->dtype)) return wrong("tables", c, "a float type");
    if ((c->rank != 2 && c->rank != 3) || !fv_tensor_same_shape(c, s) || c->dim[c->rank - 1] != pairs)
        return wrong("tables", c, "cosine and sine of one shape, (P,R/2) or (B|1,L,R/2)");
    if ((!c->data || !s->data) && fv_tensor_count(c) > 0) return wrong("tables", c, "data");
    table->cosine = *c, table->sine = *s, table->first = o->offset;
    if (c->rank == 3) {
        if (c->dim[1] != x->dim[2] || (c->dim[0] != 1 && c->dim[0] != x->dim[0]))
            return wrong("tables", c, "(B|1,L,R/2), a row for each row");
        if (table->position.rank || o->offset)
            return wrong("tables row by row", c, "neither positions nor an offset beside them");
        return FV_OK;
    }
    const fv_tensor *p = &table->position;
    if (!p->rank && x->dim[2] > 0 && (o->offset < 0 || o->offset > c->dim[0] - x->dim[2]))
        return outside(o->offset < 0 ? o->offset : o->offset + x->dim[2] - 1, c->dim[0]);
    for (int64_t b = 0; p->rank && b < p->dim[0]; b++)
        for (int64_t l = 0; l < p->dim[1]; l++) {
            const int64_t at = fv__rope_position(p, b, l);
            if (at < 0 || at >= c->dim[0]) return outside(at, c->dim[0]);
        }
    return FV_OK;
}

/* A table for this call: a row for each (batch, row) with a position of its own. *memory holds it. */
static fv_status make_tables(const fv_rope_options *o, const fv_tensor *x, int64_t pairs, fv__rope_table *table,
                             void **memory) {
    const int64_t far = INT64_C(1) << 48;
    if (o->offset > far || o->offset < -far)
        return fv__fail(FV_USAGE, "rope: offset\n  expected a size up to 2^48\n  found:   %lld", (long long)o->offset);
    const fv_tensor position = table->position;
    const int64_t batch = position.rank ? position.dim[0] : 1, length = x->dim[2];
    const fv_dtype dtype = x->dtype == FV_F64 ? FV_F64 : FV_F32;
    const int64_t dim[3] = {batch, length, pairs};
    size_t bytes, all;
    if (!fv__size_of(dim, 3, fv_dtype_size(dtype), &bytes) || !fv__mul_ok(bytes, 2, &all) ||
        !fv__add_ok(all, (size_t)pairs * sizeof(double), &all))
        return fv__fail(FV_NO_RESOURCES, "rope: sizes overflow");
    double *frequency = *memory = fv__alloc(all);
    if (!frequency) return FV_NO_RESOURCES;
    FV_TRY(fv_rope_frequencies(o, 2 * pairs, frequency));
    char *at = (char *)(frequency + pairs);
    const fv_tensor cosine = fv_tensor_2d(at, dtype, batch * length, pairs),
                    sine = fv_tensor_2d(at + bytes, dtype, batch * length, pairs);
    fv__rope_fill(frequency, o->magnitude, pairs, &position, o->offset, &cosine, &sine);
    table->cosine = fv_tensor_of(cosine.data, dtype, 3, dim), table->sine = fv_tensor_of(sine.data, dtype, 3, dim);
    table->position.rank = 0;
    return FV_OK;
}

fv_status fv__rope(const fv_rope_options *o, const fv_tensor *from, const fv_tensor *to, bool backward, bool add) {
    fv__rope_table table = {0};
    fv__rope_call call = {.table = &table, .from = from, .to = to, .backward = backward, .add = add};
    void *memory = NULL;
    FV_TRY(fv__rope_need(o, "the options"));
    FV_TRY(check_tensors(from, to));
    call.pairing = o->pairing;
    FV_TRY(fv__rope_columns(o, from->dim[3], &call.columns));
    if (o->pairing != FV_ROPE_HALF && o->pairing != FV_ROPE_INTERLEAVED)
        return fv__fail(FV_USAGE, "rope: pairing\n  expected one of fv_rope_pairing\n  found:   %d", (int)o->pairing);
    FV_TRY(read_position(&o->position, from, &table.position));
    if (!o->cosine.rank != !o->sine.rank)
        return fv__fail(FV_USAGE, "rope: tables\n  expected cosine and sine\n  found:   one of them");
    const fv_status status = o->cosine.rank ? read_tables(o, from, call.columns / 2, &table)
                                            : make_tables(o, from, call.columns / 2, &table, &memory);
    if (status == FV_OK) fv__rope_rotate(&call);
    fv__free(memory);
    return status;
}

fv_status fv_rope_forward(const fv_rope_options *options, const fv_tensor *from, const fv_tensor *to) {
    return fv__rope(options, from, to, false, false);
}

fv_status fv_rope_backward(const fv_rope_options *options, const fv_tensor *dto, const fv_tensor *dfrom) {
    return fv__rope(options, dto, dfrom, true, false);
}
