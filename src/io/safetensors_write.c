/* Writing safetensors. The same tensors give the same bytes: wide types first (so that every tensor is aligned, as the
 * reference writer does), then by name. */
#include "io/json.h"
#include "io/tensor_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const dtype_names[FV_DTYPES] = {
    [FV_F32] = "F32", [FV_F64] = "F64", [FV_BF16] = "BF16", [FV_F16] = "F16", [FV_I8] = "I8",
    [FV_U8] = "U8",   [FV_I16] = "I16", [FV_U16] = "U16",   [FV_I32] = "I32", [FV_U32] = "U32",
    [FV_I64] = "I64", [FV_U64] = "U64", [FV_BOOL] = "BOOL"};

static int by_width_and_name(const void *a, const void *b) {
    const fv_named_tensor *x = *(const fv_named_tensor *const *)a, *y = *(const fv_named_tensor *const *)b;
    size_t wide_x = fv_dtype_size(x->tensor.dtype), wide_y = fv_dtype_size(y->tensor.dtype);
    if (wide_x != wide_y) return wide_x > wide_y ? -1 : 1;
    return strcmp(x->name, y->name);
}

typedef struct pair {
    const char *key, *value;
} pair;

static int by_key(const void *a, const void *b) { return strcmp(((const pair *)a)->key, ((const pair *)b)->key); }

static void quote(fv__buf *out, const char *text) { fv__json_quote(out, text, strlen(text), FV_JSON_LINE); }

static fv_status add_metadata(fv__buf *header, const char *const *metadata) {
    size_t count = 0;
    while (metadata && metadata[2 * count]) count++;
    pair *pairs = fv__alloc_array(count + 1, sizeof *pairs);
    if (!pairs) return FV_NO_RESOURCES;
    fv_status status = FV_OK;
    for (size_t i = 0; i < count; i++) pairs[i] = (pair){metadata[2 * i], metadata[2 * i + 1]};
    pairs[count++] = (pair){"format", "pt"};
    qsort(pairs, count, sizeof *pairs, by_key);
    for (size_t i = 1; i < count && status == FV_OK; i++)
        if (!strcmp(pairs[i - 1].key, pairs[i].key))
            status =
                fv__fail(FV_USAGE, "safetensors metadata \"%s\" is given twice (\"format\" is added by the writer)",
                         pairs[i].key);
    fv__buf_text(header, "{\"__metadata__\":{");
    for (size_t i = 0; i < count; i++) {
        if (i) fv__buf_text(header, ",");
        quote(header, pairs[i].key);
        fv__buf_text(header, ":");
        quote(header, pairs[i].value);
    }
    fv__buf_text(header, "}");
    fv__free(pairs);
    return status;
}

static fv_status check_tensor(const fv_named_tensor *t, const fv_named_tensor *before, size_t *bytes) {
    char shape[128];
    fv_tensor_describe(&t->tensor, shape, sizeof shape);
    if (!strcmp(t->name, "__metadata__") || fv__utf8_valid(t->name, strlen(t->name)) != strlen(t->name))
        return fv__fail(FV_USAGE, "a tensor cannot be named \"%s\" in a safetensors file", t->name);
    if (before && !strcmp(before->name, t->name))
        return fv__fail(FV_USAGE, "names of the tensors\n  expected each once\n  found:   \"%s\" twice", t->name);
    if (!fv__size_of(t->tensor.dim, t->tensor.rank, fv_dtype_size(t->tensor.dtype), bytes))
        return fv__fail(FV_USAGE, "tensor \"%s\": the size of %s overflows", t->name, shape);
    if (*bytes && !t->tensor.data)
        return fv__fail(FV_USAGE, "tensor \"%s\"\n  expected data for %s\n  found:   NULL", t->name, shape);
    return FV_OK;
}

static fv_status add_tensor(fv__buf *header, const fv_named_tensor *t, size_t bytes, uint64_t *at) {
    fv__buf_text(header, ",");
    quote(header, t->name);
    fv__buf_printf(header, ":{\"dtype\":\"%s\",\"shape\":[", dtype_names[t->tensor.dtype]);
    for (int i = 0; i < t->tensor.rank; i++) fv__buf_printf(header, "%s%" PRId64, i ? "," : "", t->tensor.dim[i]);
    fv__buf_printf(header, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", *at, *at + bytes);
    if (__builtin_add_overflow(*at, bytes, at)) return fv__fail(FV_USAGE, "the sum of all tensor sizes overflows");
    return fv__buf_status(header);
}

/* Names must differ over all widths, so they are compared in their own order. */
static int by_name(const void *a, const void *b) {
    return strcmp((*(const fv_named_tensor *const *)a)->name, (*(const fv_named_tensor *const *)b)->name);
}

/* Starts with room for the length, and is padded so that the data begin at a multiple of 8. */
static fv_status build_header(fv__buf *header, const fv_named_tensor **order, size_t count,
                              const char *const *metadata) {
    uint64_t at = 0;
    size_t bytes;
    fv__buf_add(header, "\0\0\0\0\0\0\0", 8);
    FV_TRY(add_metadata(header, metadata));
    qsort(order, count, sizeof *order, by_name);
    for (size_t i = 0; i < count; i++) FV_TRY(check_tensor(order[i], i ? order[i - 1] : NULL, &bytes));
    qsort(order, count, sizeof *order, by_width_and_name);
    for (size_t i = 0; i < count; i++) {
        fv__size_of(order[i]->tensor.dim, order[i]->tensor.rank, fv_dtype_size(order[i]->tensor.dtype), &bytes);
        FV_TRY(add_tensor(header, order[i], bytes, &at));
    }
    fv__buf_text(header, "}");
    while (header->size % 8 && !header->failed) fv__buf_text(header, " ");
    FV_TRY(fv__buf_status(header));
    for (int i = 0; i < 8; i++) header->data[i] = (char)((header->size - 8) >> (8 * i));
    return FV_OK;
}

static fv_status write_all(const char *path, const fv__buf *header, const fv_named_tensor *const *order, size_t count) {
    fv__writer writer;
    FV_TRY(fv__writer_open(&writer, path));
    fv__writer_add(&writer, header->data, header->size);
    for (size_t i = 0; i < count; i++) fv__write_elements(&writer, &order[i]->tensor, order[i]->tensor.dtype);
    return fv__writer_commit(&writer);
}

fv_status fv_safetensors_write(const char *path, const fv_named_tensor *tensors, int64_t count,
                               const char *const *metadata) {
    if (count < 0)
        return fv__fail(FV_USAGE, "safetensors: number of tensors\n  expected 0 or more\n  found:   %lld",
                        (long long)count);
    const fv_named_tensor **order = fv__alloc_array((size_t)count + 1, sizeof *order);
    if (!order) return FV_NO_RESOURCES;
    for (int64_t i = 0; i < count; i++) order[i] = &tensors[i];
    fv__buf header = {0};
    fv_status status = build_header(&header, order, (size_t)count, metadata);
    if (status == FV_OK) status = write_all(path, &header, order, (size_t)count);
    fv__buf_free(&header);
    fv__free(order);
    return status;
}
