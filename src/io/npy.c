/* NumPy's .npy: magic, version, header length, a Python dictionary as text, the elements (format: numpy.lib.format).
 * The dictionary is read by a parser for exactly its three keys; it never meets an interpreter. */
#include "io/tensor_file.h"

#include <inttypes.h>
#include <string.h>

enum { HEADER_LIMIT = 1 << 20 };

typedef struct header {
    const char *at, *end; /* what is left of the text */
    char descr[16];
    bool have_descr, have_order, have_shape, fortran;
    int rank;
    int64_t dim[FV_MAX_DIMS];
} header;

static const struct {
    const char *code;
    fv_dtype dtype;
} types[] = {{"f4", FV_F32}, {"f8", FV_F64}, {"f2", FV_F16}, {"i1", FV_I8},  {"i2", FV_I16}, {"i4", FV_I32},
             {"i8", FV_I64}, {"u1", FV_U8},  {"u2", FV_U16}, {"u4", FV_U32}, {"u8", FV_U64}, {"b1", FV_BOOL}};
enum { TYPES = sizeof types / sizeof *types };

static fv_status bad(const fv_tensor_file *f, const char *what) { return fv__fail(f->fault, "%s: %s", f->path, what); }

/* ---- the dictionary */

static void skip_space(header *h) {
    while (h->at < h->end && strchr(" \t\r\n", *h->at) && *h->at) h->at++;
}

static bool take(header *h, char c) {
    skip_space(h);
    if (h->at >= h->end || *h->at != c) return false;
    h->at++;
    return true;
}

static bool take_word(header *h, const char *word) {
    skip_space(h);
    size_t length = strlen(word);
    if ((size_t)(h->end - h->at) < length || memcmp(h->at, word, length)) return false;
    h->at += length;
    return true;
}

static bool take_string(header *h, char *text, size_t size) {
    skip_space(h);
    if (h->at >= h->end || (*h->at != '\'' && *h->at != '"')) return false;
    char quote = *h->at++;
    const char *close = memchr(h->at, quote, (size_t)(h->end - h->at));
    if (!close || (size_t)(close - h->at) >= size || memchr(h->at, '\\', (size_t)(close - h->at))) return false;
    memcpy(text, h->at, (size_t)(close - h->at));
    text[close - h->at] = '\0';
    h->at = close + 1;
    return true;
}

static bool take_number(header *h, int64_t *value) {
    skip_space(h);
    const char *start = h->at;
    for (*value = 0; h->at < h->end && *h->at >= '0' && *h->at <= '9'; h->at++)
        if (__builtin_mul_overflow(*value, 10, value) || __builtin_add_overflow(*value, *h->at - '0', value))
            return false;
    return h->at > start;
}

/* "()", "(3,)", "(3, 4)", "(3L, )" as Python 2 wrote it. "(3)" is a number in Python, and "(3,,)" nothing. */
static bool take_shape(header *h) {
    bool comma = false;
    if (!take(h, '(')) return false;
    while (!take(h, ')')) {
        if (h->rank && !comma) return false;
        if (h->rank == FV_MAX_DIMS || !take_number(h, &h->dim[h->rank])) return false;
        h->rank++;
        if (h->at < h->end && *h->at == 'L') h->at++;
        comma = take(h, ',');
    }
    return h->rank != 1 || comma;
}

static bool take_pair(header *h) {
    char key[16];
    if (!take_string(h, key, sizeof key) || !take(h, ':')) return false;
    if (!strcmp(key, "descr") && !h->have_descr) return h->have_descr = take_string(h, h->descr, sizeof h->descr);
    if (!strcmp(key, "shape") && !h->have_shape) return h->have_shape = take_shape(h);
    if (strcmp(key, "fortran_order") || h->have_order) return false;
    h->fortran = take_word(h, "True");
    return h->have_order = h->fortran || take_word(h, "False");
}

static bool take_dictionary(header *h) {
    if (!take(h, '{')) return false;
    while (!take(h, '}')) {
        if (!take_pair(h)) return false;
        if (take(h, ',')) continue;
        if (!take(h, '}')) return false;
        break;
    }
    skip_space(h);
    return h->at == h->end && h->have_descr && h->have_order && h->have_shape;
}

/* ---- the file */

/* Where the text begins and how long it is: versions 2 and 3 have a longer length field. */
static fv_status find_header(const fv_tensor_file *f, size_t *start, size_t *size) {
    const unsigned char *p = f->bytes.data;
    if (f->bytes.size < 12) return bad(f, "is cut short in the .npy header");
    unsigned version = p[6];
    if (version < 1 || version > 3 || p[7] != 0)
        return fv__fail(f->fault, "%s: version of .npy\n  expected 1.0, 2.0 or 3.0\n  found:   %u.%u", f->path, version,
                        p[7]);
    *start = version == 1 ? 10 : 12;
    *size = p[8] | (size_t)p[9] << 8;
    if (version > 1) *size |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    if (*size > HEADER_LIMIT)
        return fv__fail(f->fault, "%s: the .npy header is too long\n  expected at most %d bytes\n  found:   %zu",
                        f->path, HEADER_LIMIT, *size);
    if (*size > f->bytes.size - *start) return bad(f, "is cut short in the .npy header");
    return FV_OK;
}

static fv_status find_type(const fv_tensor_file *f, const header *h, fv_dtype *dtype) {
    char order = h->descr[0];
    if (order == '>')
        return fv__fail(f->fault,
                        "%s: order of bytes\n  expected little-endian\n  found:   big-endian (%s)\n"
                        "  try:     numpy.save(name, a.astype(a.dtype.newbyteorder('<')))",
                        f->path, h->descr);
    for (int i = 0; i < TYPES && (order == '<' || order == '|'); i++) {
        if (strcmp(h->descr + 1, types[i].code)) continue;
        *dtype = types[i].dtype;
        return FV_OK;
    }
    return fv__fail(f->fault,
                    "%s: element type '%s' is not supported\n"
                    "  expected f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 or b1, little-endian",
                    f->path, h->descr);
}

static fv_status parse_header(const fv_tensor_file *f, header *h, size_t start, size_t size) {
    h->at = (const char *)f->bytes.data + start;
    h->end = h->at + size;
    if (take_dictionary(h)) return FV_OK;
    if (h->rank == FV_MAX_DIMS && !h->have_shape) return bad(f, "the array has more than 6 dimensions");
    const char *line = (const char *)f->bytes.data + start;
    return fv__fail(
        f->fault,
        "%s: malformed .npy header\n  expected {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n"
        "  found:   %.*s",
        f->path, (int)(size < 80 ? size : 80), line);
}

fv_status fv__npy_parse(fv_tensor_file *file) {
    size_t start = 0, size = 0, bytes;
    header h = {0};
    fv_dtype dtype = FV_F32;
    FV_TRY(find_header(file, &start, &size));
    FV_TRY(parse_header(file, &h, start, size));
    FV_TRY(find_type(file, &h, &dtype));
    if (!fv__size_of(h.dim, h.rank, fv_dtype_size(dtype), &bytes)) return bad(file, "the size of the array overflows");
    size_t found = file->bytes.size - start - size;
    if (found != bytes)
        return fv__fail(file->fault, "%s: %s\n  expected %zu bytes of elements\n  found:   %zu", file->path,
                        found < bytes ? "is cut short" : "holds more than one array, or is damaged", bytes, found);
    FV_TRY(fv__tensor_file_add(file, "", dtype, h.rank, h.dim, file->bytes.data + start + size, bytes));
    if (!h.fortran) return FV_OK;
    fv_tensor *t = &file->tensors[0].tensor; /* the first index varies fastest: the same elements, other strides */
    for (int i = 0; i < h.rank; i++) t->stride[i] = i ? t->stride[i - 1] * t->dim[i - 1] : 1;
    return FV_OK;
}

/* ---- writing */

static const char *code_of(fv_dtype dtype) {
    for (int i = 0; i < TYPES; i++)
        if (types[i].dtype == dtype) return types[i].code;
    return NULL;
}

/* Version 1.0, padded with spaces so that the elements begin at a multiple of 64. */
static fv_status build_header(fv__buf *out, const fv_tensor *t, fv_dtype as) {
    fv__buf_add(out, "\x93NUMPY\1\0\0\0", 10);
    fv__buf_printf(out, "{'descr': '%c%s', 'fortran_order': False, 'shape': (", fv_dtype_size(as) > 1 ? '<' : '|',
                   code_of(as));
    for (int i = 0; i < t->rank; i++) fv__buf_printf(out, "%s%" PRId64, i ? ", " : "", t->dim[i]);
    fv__buf_text(out, t->rank == 1 ? ",), }" : "), }");
    while (out->size % 64 != 63 && !out->failed) fv__buf_text(out, " ");
    fv__buf_text(out, "\n");
    FV_TRY(fv__buf_status(out));
    out->data[8] = (char)((out->size - 10) & 255);
    out->data[9] = (char)((out->size - 10) >> 8);
    return FV_OK;
}

static fv_status write_all(const char *path, const fv__buf *text, const fv_tensor *t, fv_dtype as) {
    fv__writer writer;
    FV_TRY(fv__writer_open(&writer, path));
    fv__writer_add(&writer, text->data, text->size);
    fv__write_elements(&writer, t, as);
    return fv__writer_commit(&writer);
}

fv_status fv_npy_write(const char *path, const fv_tensor *tensor) {
    fv_dtype as = tensor->dtype == FV_BF16 ? FV_F32 : tensor->dtype;
    size_t bytes;
    if (!code_of(as) || !fv__size_of(tensor->dim, tensor->rank, fv_dtype_size(as), &bytes))
        return fv__fail(FV_USAGE, "%s: the size of the array overflows, or its type is unknown", path);
    if (bytes && !tensor->data)
        return fv__fail(FV_USAGE, "%s: an array to be written\n  expected data\n  found:   NULL", path);
    fv__buf text = {0};
    fv_status status = build_header(&text, tensor, as);
    if (status == FV_OK) status = write_all(path, &text, tensor, as);
    fv__buf_free(&text);
    return status;
}
