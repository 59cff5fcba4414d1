/* A file of named tensors: opening by content, finding by name, closing. The formats fill it in. */
#include "io/tensor_file.h"
#include "tensor/dtype.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static bool starts_with(const fv__file *f, const char *text, size_t size) {
    return f->size >= size && !memcmp(f->data, text, size);
}

/* Files that people hand over by mistake are refused by name, with the way on. */
static fv_status refuse_by_name(const fv_tensor_file *file) {
    static const struct {
        const char *magic;
        size_t size;
        const char *what;
    } others[] = {
        {"version https://git-lfs", 23,
         "not a tensor file\n  expected .safetensors or .npy\n  found:   a pointer of Git LFS\n  try:     git lfs "
         "pull"},
        {"PK\3\4", 4,
         "not a tensor file\n  expected .safetensors or .npy\n  found:   a zip archive (.npz or a PyTorch pickle)\n"
         "  try:     save with safetensors.torch.save_file or numpy.save"},
        {"\x80\x02", 2,
         "not a tensor file\n  expected .safetensors or .npy\n  found:   a Python pickle\n  try:     "
         "safetensors.torch.save_file"},
        {"GGUF", 4, "not a tensor file\n  expected .safetensors or .npy\n  found:   a GGUF file"},
        {"\x89HDF", 4, "not a tensor file\n  expected .safetensors or .npy\n  found:   an HDF5 file"},
    };
    if (file->bytes.size == 0)
        return fv__fail(file->fault, "%s: not a tensor file\n  expected .safetensors or .npy\n  found:   an empty file",
                        file->path);
    /* a safetensors header of 640 bytes begins like a pickle of protocol 2; its JSON follows the length */
    if (file->bytes.size > 8 && file->bytes.data[0] == 0x80 && file->bytes.data[8] == '{') return FV_OK;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (starts_with(&file->bytes, others[i].magic, others[i].size))
            return fv__fail(file->fault, "%s: %s", file->path, others[i].what);
    return FV_OK;
}

static fv_status fill(fv_tensor_file *file, const char *path) {
    file->path = fv__strdup(path);
    if (!file->path) return FV_NO_RESOURCES;
    FV_TRY(fv__map_create(&file->names));
    FV_TRY(fv__map_create(&file->metadata));
    bool of_model = file->fault == FV_BAD_MODEL;
    fv_status status = of_model ? fv__file_read_regular(&file->bytes, path) : fv__file_read(&file->bytes, path);
    if (status == FV_BAD_DATA) return file->fault;
    FV_TRY(status);
    FV_TRY(refuse_by_name(file));
    return starts_with(&file->bytes, "\x93NUMPY", 6) ? fv__npy_parse(file) : fv__safetensors_parse(file);
}

fv_status fv__tensor_file_open(fv_tensor_file **file, const char *path, fv_status fault) {
    *file = fv__alloc(sizeof **file);
    if (!*file) return FV_NO_RESOURCES;
    (*file)->fault = fault;
    fv_status status = fill(*file, path);
    if (status == FV_OK) return FV_OK;
    fv_tensor_file_close(*file);
    *file = NULL;
    return status;
}

fv_status fv_tensor_file_open(fv_tensor_file **file, const char *path) {
    return fv__tensor_file_open(file, path, FV_BAD_DATA);
}

void fv_tensor_file_close(fv_tensor_file *file) {
    if (!file) return;
    for (size_t i = 0; i < file->copy_count; i++) fv__free(file->copies[i]);
    for (size_t i = 0; i < file->value_count; i++) fv__free(file->values[i]);
    fv__free(file->copies);
    fv__free(file->values);
    fv__free(file->tensors);
    fv__map_free(file->names);
    fv__map_free(file->metadata);
    fv__file_free(&file->bytes);
    fv__free(file->path);
    fv__free(file);
}

/* The place of a tensor in a file need not suit its type; reading it there would be undefined. */
static fv_status aligned(fv_tensor_file *file, const unsigned char **data, size_t element, size_t bytes) {
    if ((uintptr_t)*data % element == 0) return FV_OK;
    FV_TRY(FV_GROW(&file->copies, &file->copy_capacity, file->copy_count + 1));
    void *copy = fv__alloc(bytes);
    if (!copy) return FV_NO_RESOURCES;
    memcpy(copy, *data, bytes);
    file->copies[file->copy_count++] = copy;
    *data = copy;
    return FV_OK;
}

fv_status fv__tensor_file_add(fv_tensor_file *file, const char *name, fv_dtype dtype, int rank, const int64_t *dim,
                              const unsigned char *data, size_t bytes) {
    size_t length = strlen(name), kept;
    FV_TRY(aligned(file, &data, fv_dtype_size(dtype), bytes));
    FV_TRY(FV_GROW(&file->tensors, &file->capacity, file->count + 1));
    FV_TRY(fv__map_set(file->names, name, length, (int64_t)file->count));
    fv_named_tensor *t = &file->tensors[file->count];
    t->name = fv__map_key(file->names, file->count, &kept);
    t->tensor = fv_tensor_of((void *)data, dtype, rank, dim);
    file->count++;
    return FV_OK;
}

fv_status fv__tensor_file_add_metadata(fv_tensor_file *file, const char *key, const char *value) {
    FV_TRY(FV_GROW(&file->values, &file->value_capacity, file->value_count + 1));
    char *copy = fv__strdup(value);
    if (!copy) return FV_NO_RESOURCES;
    file->values[file->value_count] = copy;
    return fv__map_set(file->metadata, key, strlen(key), (int64_t)file->value_count++);
}

int64_t fv_tensor_file_count(const fv_tensor_file *file) { return (int64_t)file->count; }

static bool in_range(const fv_tensor_file *file, int64_t index) { return index >= 0 && index < (int64_t)file->count; }

const char *fv_tensor_file_name(const fv_tensor_file *file, int64_t index) {
    return in_range(file, index) ? file->tensors[index].name : NULL;
}

fv_tensor fv_tensor_file_at(const fv_tensor_file *file, int64_t index) {
    return in_range(file, index) ? file->tensors[index].tensor : (fv_tensor){0};
}

static int64_t index_of(const fv_tensor_file *file, const char *name) {
    return fv__map_get(file->names, name, strlen(name), -1);
}

bool fv_tensor_file_has(const fv_tensor_file *file, const char *name) { return index_of(file, name) >= 0; }

static fv_status no_such_tensor(const fv_tensor_file *file, const char *name) {
    const char **names = fv__alloc_array(file->count + 1, sizeof *names);
    if (!names) return FV_NO_RESOURCES;
    for (size_t i = 0; i < file->count; i++) names[i] = file->tensors[i].name;
    const char *near = fv__nearest(name, names);
    fv_status status =
        near ? fv__fail(file->fault, "%s: no tensor \"%s\"\n  did you mean \"%s\"?", file->path, name, near)
             : fv__fail(file->fault, "%s: no tensor \"%s\" among its %zu", file->path, name, file->count);
    fv__free(names);
    return status;
}

fv_status fv_tensor_file_find(const fv_tensor_file *file, const char *name, fv_tensor *tensor) {
    int64_t index = index_of(file, name);
    *tensor = fv_tensor_file_at(file, index);
    return index >= 0 ? FV_OK : no_such_tensor(file, name);
}

fv_status fv__tensor_file_need(const fv_tensor_file *file, const char *name, const fv_tensor *expected,
                               fv_tensor *found) {
    char want[96], have[96];
    FV_TRY(fv_tensor_file_find(file, name, found));
    bool same_kind = fv__dtype_is_float(expected->dtype) == fv__dtype_is_float(found->dtype);
    if (same_kind && fv_tensor_same_shape(expected, found)) return FV_OK;
    fv_tensor_describe(expected, want, sizeof want);
    fv_tensor_describe(found, have, sizeof have);
    return fv__fail(file->fault, "%s: tensor \"%s\" has the wrong shape\n  expected %s\n  found:   %s", file->path,
                    name, want, have);
}

const char *fv_tensor_file_metadata(const fv_tensor_file *file, const char *key) {
    int64_t index = fv__map_get(file->metadata, key, strlen(key), -1);
    return index < 0 ? NULL : file->values[index];
}

/* The elements lie without gaps, in whatever order. Returns the place of the first one that is not finite, or -1. */
static int64_t first_not_finite(const fv_tensor *t) {
    double piece[512];
    int64_t count = fv_tensor_count(t), size = (int64_t)fv_dtype_size(t->dtype);
    for (int64_t done = 0; done < count; done += 512) {
        int64_t n = count - done < 512 ? count - done : 512;
        fv__load_f64(piece, (const char *)t->data + done * size, t->dtype, 1, n);
        for (int64_t i = 0; i < n; i++)
            if (!isfinite(piece[i])) return done + i;
    }
    return -1;
}

fv_status fv__tensor_file_finite(const fv_tensor_file *file, const char *name, const fv_tensor *t) {
    int64_t at = fv__dtype_is_float(t->dtype) ? first_not_finite(t) : -1;
    if (at < 0) return FV_OK;
    return fv__fail(file->fault,
                    "%s: tensor \"%s\": element %" PRId64 " is not a finite number\n  try:     the last good copy",
                    file->path, name, at);
}

fv_status fv_tensor_file_check_finite(const fv_tensor_file *file) {
    for (size_t i = 0; i < file->count; i++)
        FV_TRY(fv__tensor_file_finite(file, file->tensors[i].name, &file->tensors[i].tensor));
    return FV_OK;
}

void fv__write_elements(fv__writer *writer, const fv_tensor *tensor, fv_dtype as) {
    size_t bytes;
    if (writer->status != FV_OK || !fv__size_of(tensor->dim, tensor->rank, fv_dtype_size(as), &bytes) || !bytes) return;
    if (tensor->dtype == as && fv_tensor_contiguous(tensor)) {
        fv__writer_add(writer, tensor->data, bytes);
        return;
    }
    void *rows = fv__alloc(bytes);
    fv_tensor dense = fv_tensor_of(rows, as, tensor->rank, tensor->dim);
    writer->status = rows ? fv_tensor_copy(&dense, tensor) : FV_NO_RESOURCES;
    fv__writer_add(writer, rows, bytes);
    fv__free(rows);
}
