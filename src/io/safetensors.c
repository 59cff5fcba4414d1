/* Reading safetensors: 8 bytes little-endian header length, a JSON header, the data (format and rules: README and
 * tensor.rs of huggingface/safetensors). Every claim of the header is checked against the file before it is used. */
#include "io/json.h"
#include "io/tensor_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "files are read in place: fovea needs a little-endian machine"
#endif

enum { HEADER_LIMIT = 100 * 1000 * 1000, NAME_LIMIT = 512 };

typedef struct entry {
    const char *name;
    fv_dtype dtype;
    int rank;
    int64_t dim[FV_MAX_DIMS];
    uint64_t begin, end;
} entry;

static fv_status bad_file(const fv_tensor_file *f, const char *what) {
    return fv__fail(f->fault, "%s: %s", f->path, what);
}

static fv_status bad_tensor(const fv_tensor_file *f, const char *name, const char *what) {
    return fv__fail(f->fault, "%s: tensor \"%s\": %s", f->path, name, what);
}

/* ---- one tensor of the header */

static const struct {
    const char *name;
    fv_dtype dtype;
} dtypes[] = {{"F32", FV_F32}, {"F64", FV_F64}, {"BF16", FV_BF16}, {"F16", FV_F16}, {"I8", FV_I8},
              {"U8", FV_U8},   {"I16", FV_I16}, {"U16", FV_U16},   {"I32", FV_I32}, {"U32", FV_U32},
              {"I64", FV_I64}, {"U64", FV_U64}, {"BOOL", FV_BOOL}};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

static fv_status read_dtype(const fv_tensor_file *f, entry *e, const fv__json *about) {
    const char *text = fv__json_text(fv__json_get(about, "dtype"));
    if (!text) return bad_tensor(f, e->name, "has no \"dtype\"");
    for (int i = 0; i < DTYPES; i++) {
        if (strcmp(text, dtypes[i].name)) continue;
        e->dtype = dtypes[i].dtype;
        return FV_OK;
    }
    return fv__fail(f->fault,
                    "%s: tensor \"%s\": dtype %s is not supported\n"
                    "  expected one of F64 F32 F16 BF16 I64 I32 I16 I8 U64 U32 U16 U8 BOOL",
                    f->path, e->name, text);
}

static fv_status read_shape(const fv_tensor_file *f, entry *e, const fv__json *about) {
    const fv__json *shape = fv__json_get(about, "shape");
    if (fv__json_kind_of(shape) != FV_JSON_ARRAY) return bad_tensor(f, e->name, "has no \"shape\" (a list of sizes)");
    size_t rank = fv__json_count(shape);
    if (rank > FV_MAX_DIMS)
        return fv__fail(f->fault, "%s: tensor \"%s\": rank\n  expected at most %d\n  found:   %zu", f->path, e->name,
                        FV_MAX_DIMS, rank);
    e->rank = (int)rank;
    for (size_t i = 0; i < rank; i++) {
        const fv__json *size = fv__json_at(shape, i);
        e->dim[i] = fv__json_kind_of(size) == FV_JSON_INT ? fv__json_int(size, -1) : -1;
        if (e->dim[i] < 0) return bad_tensor(f, e->name, "\"shape\" is not a list of whole numbers from 0 up");
    }
    return FV_OK;
}

static fv_status read_offsets(const fv_tensor_file *f, entry *e, const fv__json *about) {
    const fv__json *offsets = fv__json_get(about, "data_offsets");
    const fv__json *first = fv__json_at(offsets, 0), *second = fv__json_at(offsets, 1);
    bool two = fv__json_count(offsets) == 2 && fv__json_kind_of(first) == FV_JSON_INT &&
               fv__json_kind_of(second) == FV_JSON_INT;
    int64_t begin = two ? fv__json_int(first, -1) : -1, end = two ? fv__json_int(second, -1) : -1;
    if (begin < 0 || end < begin)
        return bad_tensor(f, e->name, "\"data_offsets\" is not [begin, end] with 0 <= begin <= end");
    e->begin = (uint64_t)begin;
    e->end = (uint64_t)end;
    return FV_OK;
}

static fv_status check_size(const fv_tensor_file *f, const entry *e) {
    size_t bytes;
    char shape[128];
    fv_tensor t = fv_tensor_of(NULL, e->dtype, e->rank, e->dim);
    fv_tensor_describe(&t, shape, sizeof shape);
    if (!fv__size_of(e->dim, e->rank, fv_dtype_size(e->dtype), &bytes))
        return fv__fail(f->fault, "%s: tensor \"%s\": the size of %s overflows", f->path, e->name, shape);
    if (bytes == e->end - e->begin) return FV_OK;
    return fv__fail(f->fault,
                    "%s: tensor \"%s\": shape and data_offsets differ\n  expected %zu bytes for %s\n"
                    "  found:   %" PRIu64 " bytes in [%" PRIu64 ", %" PRIu64 ")",
                    f->path, e->name, bytes, shape, e->end - e->begin, e->begin, e->end);
}

static fv_status read_entry(const fv_tensor_file *f, entry *e, const char *name, const fv__json *about) {
    e->name = name;
    if (strlen(name) > NAME_LIMIT) return bad_file(f, "a tensor's name is longer than 512 bytes");
    if (fv__json_kind_of(about) != FV_JSON_OBJECT) return bad_tensor(f, name, "is not described by an object");
    FV_TRY(read_dtype(f, e, about));
    FV_TRY(read_shape(f, e, about));
    FV_TRY(read_offsets(f, e, about));
    return check_size(f, e);
}

static fv_status read_metadata(fv_tensor_file *f, const fv__json *about) {
    if (fv__json_kind_of(about) != FV_JSON_OBJECT) return bad_file(f, "\"__metadata__\" is not an object");
    for (void *pair = fv__json_first(about); pair; pair = fv__json_next(about, pair)) {
        const char *value = fv__json_text(fv__json_value(pair));
        if (!value)
            return fv__fail(f->fault, "%s: metadata \"%s\"\n  expected a string\n  found:   another type", f->path,
                            fv__json_key(pair));
        FV_TRY(fv__tensor_file_add_metadata(f, fv__json_key(pair), value));
    }
    return FV_OK;
}

/* ---- the places of all tensors: from 0 to the end, no hole, no overlap, no tail */

static int by_place(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return strcmp(x->name, y->name);
}

static fv_status check_places(const fv_tensor_file *f, const entry *entries, size_t count, uint64_t data_size) {
    uint64_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const entry *e = &entries[i];
        if (e->begin != at)
            return fv__fail(f->fault, "%s: tensor \"%s\": %s\n  expected its data at %" PRIu64 "\n  found:   %" PRIu64,
                            f->path, e->name, e->begin < at ? "overlaps the one before it" : "leaves a hole before it",
                            at, e->begin);
        at = e->end;
    }
    if (at > data_size)
        return fv__fail(f->fault,
                        "%s: is cut short\n  expected %" PRIu64 " bytes of data\n  found:   %" PRIu64
                        "\n  try:     fetch or copy it again",
                        f->path, at, data_size);
    if (at < data_size)
        return fv__fail(f->fault, "%s: %" PRIu64 " bytes after the last tensor belong to none", f->path,
                        data_size - at);
    return FV_OK;
}

/* ---- the file */

static fv_status read_entries(fv_tensor_file *f, const fv__json *header, entry *entries, size_t *count) {
    for (void *pair = fv__json_first(header); pair; pair = fv__json_next(header, pair)) {
        const char *name = fv__json_key(pair);
        if (!strcmp(name, "__metadata__"))
            FV_TRY(read_metadata(f, fv__json_value(pair)));
        else
            FV_TRY(read_entry(f, &entries[(*count)++], name, fv__json_value(pair)));
    }
    return FV_OK;
}

static fv_status add_tensors(fv_tensor_file *f, const fv__json *header, const unsigned char *data, uint64_t data_size) {
    size_t count = 0;
    entry *entries = fv__alloc_array(fv__json_count(header) + 1, sizeof *entries);
    if (!entries) return FV_NO_RESOURCES;
    fv_status status = read_entries(f, header, entries, &count);
    qsort(entries, count, sizeof *entries, by_place);
    if (status == FV_OK) status = check_places(f, entries, count, data_size);
    for (size_t i = 0; i < count && status == FV_OK; i++) {
        const entry *e = &entries[i];
        status =
            fv__tensor_file_add(f, e->name, e->dtype, e->rank, e->dim, data + e->begin, (size_t)(e->end - e->begin));
    }
    fv__free(entries);
    return status;
}

static uint64_t little_endian_64(const unsigned char *p) {
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--) value = value << 8 | p[i];
    return value;
}

static fv_status header_size(const fv_tensor_file *f, uint64_t *size) {
    if (f->bytes.size < 8) return bad_file(f, "not a safetensors file\n  expected 8 bytes or more\n  found:   fewer");
    *size = little_endian_64(f->bytes.data);
    if (*size > HEADER_LIMIT)
        return fv__fail(f->fault,
                        "%s: is not a safetensors file, or it is damaged\n  expected a header of at most %d bytes\n"
                        "  found:   %" PRIu64,
                        f->path, HEADER_LIMIT, *size);
    if (*size > f->bytes.size - 8)
        return fv__fail(f->fault, "%s: is cut short\n  expected a header of %" PRIu64 " bytes\n  found:   %zu", f->path,
                        *size, f->bytes.size - 8);
    if (*size < 2 || f->bytes.data[8] != '{')
        return bad_file(f, "not a safetensors file\n  expected a header that is a JSON object\n  found:   other bytes");
    return FV_OK;
}

fv_status fv__safetensors_parse(fv_tensor_file *file) {
    uint64_t size = 0;
    fv__json *header;
    FV_TRY(header_size(file, &size));
    FV_TRY(fv__json_parse(&header, (const char *)file->bytes.data + 8, (size_t)size, file->path, file->fault));
    fv_status status = add_tensors(file, header, file->bytes.data + 8 + size, file->bytes.size - 8 - size);
    fv__json_free(header);
    return status;
}
