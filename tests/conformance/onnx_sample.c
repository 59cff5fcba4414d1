/* One sample: its file, its attributes, and the comparison of its outputs. See conform.h. */
#include "conform.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- metadata: flat JSON, written by samples.py */

static const char *metadata(const sample *s, const char *key) {
    const char *text = fv_tensor_file_metadata(s->file, key);
    return text ? text : "";
}

/* Text number `index` of a list of texts. */
static bool item(const char *list, int index, char *text, size_t size) {
    for (const char *at = strchr(list, '"'); at; at = strchr(at, '"')) {
        const char *end = strchr(at + 1, '"');
        if (!end) return false;
        if (index-- == 0) {
            snprintf(text, size, "%.*s", (int)(end - at - 1), at + 1);
            return true;
        }
        at = end + 1;
    }
    return false;
}

static const char *attribute(const sample *s, const char *name) {
    char key[96];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(metadata(s, "attributes"), key);
    return at ? at + strlen(key) + strspn(at + strlen(key), " ") : NULL;
}

bool sample_has(const sample *s, const char *name) { return attribute(s, name) != NULL; }

int64_t sample_int(const sample *s, const char *name, int64_t missing) {
    const char *at = attribute(s, name);
    if (!at) return missing;
    return *at == '-' ? strtoll(at, NULL, 10) : (int64_t)strtoull(at, NULL, 10);
}

double sample_number(const sample *s, const char *name, double missing) {
    const char *at = attribute(s, name);
    return at ? strtod(at, NULL) : missing;
}

bool sample_says(const sample *s, const char *name, const char *text) {
    const char *at = attribute(s, name);
    return at && *at == '"' && strncmp(at + 1, text, strlen(text)) == 0 && at[1 + strlen(text)] == '"';
}

/* ---- tensors */

static fv_tensor named(const sample *s, const char *list, const char *prefix, int index) {
    char name[256], full[260];
    fv_tensor t = {0};
    if (!item(metadata(s, list), index, name, sizeof name) || !*name) return t;
    snprintf(full, sizeof full, "%s%s", prefix, name);
    if (fv_tensor_file_has(s->file, full)) fv_tensor_file_find(s->file, full, &t);
    return t;
}

fv_tensor sample_input(const sample *s, int index) { return named(s, "node_inputs", "in.", index); }

static fv_tensor expected(const sample *s, int index) { return named(s, "node_outputs", "out.", index); }

bool sample_has_output(const sample *s, int index) { return expected(s, index).data != NULL; }

static void **kept;
static size_t kept_count;

static void sample_release(void) {
    for (size_t i = 0; i < kept_count; i++) free(kept[i]);
    free(kept);
    kept = NULL, kept_count = 0;
}

fv_tensor sample_new(fv_dtype dtype, int rank, const int64_t *dim) {
    fv_tensor t = fv_tensor_of(NULL, dtype, rank, dim);
    const int64_t count = fv_tensor_count(&t);
    t.data = calloc((size_t)count + 1, fv_dtype_size(dtype));
    void **more = realloc(kept, (kept_count + 1) * sizeof *kept);
    if (!t.data || !more) abort();
    kept = more;
    kept[kept_count++] = t.data;
    return t;
}

fv_tensor sample_real(fv_tensor t) {
    if (t.rank == 0 || t.dtype == FV_F32 || t.dtype == FV_F64) return t;
    fv_tensor copy = sample_new(FV_F32, t.rank, t.dim);
    fv_tensor_copy(&copy, &t);
    return copy;
}

fv_tensor sample_padded(fv_tensor t, int rank) {
    const int more = rank - t.rank;
    if (more <= 0) return t;
    fv_tensor wide = t;
    wide.rank = rank;
    for (int i = 0; i < rank; i++) {
        wide.dim[i] = i < more ? 1 : t.dim[i - more];
        wide.stride[i] = i < more ? 0 : t.stride[i - more];
    }
    return wide;
}

fv_tensor sample_broadcast(fv_tensor t, int rank, const int64_t *dim) {
    fv_tensor wide = sample_padded(t, rank);
    for (int i = 0; i < rank; i++) {
        if (wide.dim[i] == dim[i]) continue;
        wide.dim[i] = dim[i], wide.stride[i] = 0;
    }
    return wide;
}

/* ---- judging */

void sample_fail(sample *s, const char *format, ...) {
    va_list arguments;
    if (*s->reason) return;
    va_start(arguments, format);
    vsnprintf(s->reason, sizeof s->reason, format, arguments);
    va_end(arguments);
}

bool sample_try(sample *s, fv_status status) {
    if (status != FV_OK) sample_fail(s, "%s", fv_message());
    return status == FV_OK && !*s->reason;
}

/* As numpy.testing.assert_allclose: NaN agrees with NaN, infinities with themselves. */
static bool close(double found, double want, double rtol, double atol) {
    if (isnan(want) || isnan(found)) return isnan(want) && isnan(found);
    if (isinf(want) || isinf(found)) return want == found;
    return fabs(found - want) <= atol + rtol * fabs(want);
}

/* The test runner of onnx allows bf16 two units in the last place; f16 is given as many. */
static double allowed(const sample *s, fv_dtype dtype) {
    const double two = dtype == FV_BF16 ? 0x1p-6 : dtype == FV_F16 ? 0x1p-9 : 0;
    return s->rtol > two ? s->rtol : two;
}

void sample_compare(sample *s, int index, const fv_tensor *found) {
    const fv_tensor want = expected(s, index);
    char a[96], b[96];
    if (!want.data) return;
    fv_tensor_describe(&want, a, sizeof a), fv_tensor_describe(found, b, sizeof b);
    if (!fv_tensor_same_shape(&want, found)) {
        sample_fail(s, "output %d is %s, expected %s", index, b, a);
        return;
    }
    fv_tensor same = sample_new(want.dtype, want.rank, want.dim);
    if (!sample_try(s, fv_tensor_copy(&same, found))) return;
    const int64_t count = fv_tensor_count(&want);
    const fv_tensor flat_want = fv_tensor_1d(want.data, want.dtype, count),
                    flat = fv_tensor_1d(same.data, same.dtype, count);
    for (int64_t i = 0; i < count; i++) {
        const double x = fv_tensor_get(&flat, &i), y = fv_tensor_get(&flat_want, &i);
        if (!close(x, y, allowed(s, want.dtype), s->atol)) {
            sample_fail(s, "output %d %s, element %lld: %.9g, expected %.9g", index, a, (long long)i, x, y);
            return;
        }
    }
}

/* ---- the run */

static const struct {
    const char *op;
    run_operator *run;
} operators[] = {{"Attention", run_attention},
                 {"RotaryEmbedding", run_rotary_embedding},
                 {"LayerNormalization", run_layer_normalization},
                 {"RMSNormalization", run_rms_normalization},
                 {"Gelu", run_gelu}};
enum { OPERATORS = sizeof operators / sizeof *operators };

static int edition_of(const sample *s) {
    int major = 0, minor = 0;
    return sscanf(metadata(s, "onnx"), "%d.%d", &major, &minor) == 2 ? 100 * major + minor : 0;
}

static void run_as(sample *s, int edition) {
    s->edition = edition, *s->reason = 0;
    for (int i = 0; i < OPERATORS; i++)
        if (strcmp(operators[i].op, s->op) == 0) {
            operators[i].run(s);
            sample_release();
            return;
        }
    sample_fail(s, "no such operator here: %s", s->op);
}

/* Files that do not tell their edition are read by the newest text, then by the one before its correction in 1.22. */
static bool run_file(const char *path) {
    sample s = {.rtol = 1e-3, .atol = 1e-7};
    const char *name = strrchr(path, '/');
    s.name = name ? name + 1 : path;
    if (fv_tensor_file_open(&s.file, path) != FV_OK) {
        printf("not ok  %s: %s\n", s.name, fv_message());
        return false;
    }
    s.op = metadata(&s, "op");
    if (*metadata(&s, "rtol")) s.rtol = strtod(metadata(&s, "rtol"), NULL);
    if (*metadata(&s, "atol")) s.atol = strtod(metadata(&s, "atol"), NULL);
    const int edition = edition_of(&s);
    const char *read_as = "";
    run_as(&s, edition ? edition : 123);
    if (*s.reason && !edition) {
        char first[sizeof s.reason];
        memcpy(first, s.reason, sizeof first);
        run_as(&s, 121);
        if (*s.reason)
            memcpy(s.reason, first, sizeof first);
        else
            read_as = " (by the text before 1.22)";
    }
    const bool good = !*s.reason;
    printf("%s  %-20s %.*s%s%s%s\n", good ? "ok    " : "not ok", s.op, (int)strcspn(s.name, "."), s.name, read_as,
           good ? "" : ": ", s.reason);
    fv_tensor_file_close(s.file);
    return good;
}

int main(int argc, char **argv) {
    int passed = 0, failed = 0;
    for (int i = 1; i < argc; i++) {
        const bool good = run_file(argv[i]);
        passed += good, failed += !good;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed || !passed;
}
