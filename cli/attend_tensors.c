/* The tensors of `fovea attend`. See attend.h. */
#include "attend.h"
#include "console.h"
#include "flags.h"
#include "output.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static fv_tensor_file *in; /* --in */
static struct single {
    char *name;
    fv_tensor_file *file;
} * singles; /* one tensor each: --q FILE, --tensor NAME=FILE */
static size_t single_count;
static struct output {
    char *name;
    fv_tensor tensor;
} * outputs;
static size_t output_count;

/* ---- finding */

static fv_status open_single(const char *name, size_t name_size, const char *path) {
    fv_tensor_file *file;
    fv_status status = fv_tensor_file_open(&file, path);
    if (status != FV_OK) return status;
    singles = cli_realloc(singles, (single_count + 1) * sizeof *singles);
    singles[single_count++] = (struct single){cli_text("%.*s", (int)name_size, name), file};
    if (fv_tensor_file_count(file) == 1) return FV_OK;
    return cli_fail(FV_USAGE, "%s: too many tensors\n  expected one\n  found:   %lld\n  try:     --in %s", path,
                    (long long)fv_tensor_file_count(file), path);
}

fv_status attend_open(const attend_options *o) {
    fv_status status = o->in ? fv_tensor_file_open(&in, o->in) : FV_OK;
    if (status == FV_OK && in && fv_tensor_file_count(in) == 1 && !*fv_tensor_file_name(in, 0))
        return cli_fail(FV_USAGE, "--in %s: an .npy file holds one tensor without a name\n  try:     --q %s", o->in,
                        o->in);
    for (int i = 0; status == FV_OK && i < ATTEND_INPUTS; i++)
        if (o->file[i]) status = open_single(attend_name(i), strlen(attend_name(i)), o->file[i]);
    size_t count;
    char **entry = cli_list_split(o->tensor, &count);
    for (size_t i = 0; status == FV_OK && i < count; i++) {
        const char *equal = strchr(entry[i], '=');
        if (equal) status = open_single(entry[i], (size_t)(equal - entry[i]), equal + 1);
    }
    cli_free(entry);
    return status;
}

void attend_close(void) {
    fv_tensor_file_close(in);
    for (size_t i = 0; i < single_count; i++) {
        fv_tensor_file_close(singles[i].file);
        cli_free(singles[i].name);
    }
    cli_free(singles);
    for (size_t i = 0; i < output_count; i++) cli_free(outputs[i].name);
    cli_free(outputs);
}

/* The name a tensor has in --in: its own, or what --name says. */
static const char *name_inside(const attend_options *o, const char *name, char *text, size_t size) {
    size_t count;
    char **entry = cli_list_split(o->name, &count);
    snprintf(text, size, "%s", name);
    for (size_t i = 0; i < count; i++)
        if (strncmp(entry[i], name, strlen(name)) == 0 && entry[i][strlen(name)] == '=')
            snprintf(text, size, "%s", entry[i] + strlen(name) + 1);
    cli_free(entry);
    return text;
}

static const struct single *find_single(const char *name) {
    for (size_t i = 0; i < single_count; i++)
        if (strcmp(singles[i].name, name) == 0) return &singles[i];
    return NULL;
}

static bool is_given(const attend_options *o, const char *name) {
    char inside[256];
    return find_single(name) || (in && fv_tensor_file_has(in, name_inside(o, name, inside, sizeof inside)));
}

fv_status attend_find(const attend_options *o, const char *name, fv_tensor *tensor) {
    char inside[256];
    const struct single *one = find_single(name);
    memset(tensor, 0, sizeof *tensor);
    if (one)
        *tensor = fv_tensor_file_at(one->file, 0);
    else if (is_given(o, name)) {
        fv_status status = fv_tensor_file_find(in, name_inside(o, name, inside, sizeof inside), tensor);
        if (status != FV_OK) return status;
    } else
        return FV_OK;
    if (tensor->rank == 0)
        return cli_fail(FV_BAD_DATA, "%s: wrong shape\n  expected a tensor with dimensions\n  found:   a single number",
                        name);
    return FV_OK;
}

fv_status attend_nothing(const attend_options *o, const char *name) {
    char inside[256], found[512] = "";
    size_t used = 0;
    for (int64_t i = 0; i < fv_tensor_file_count(in) && used < sizeof found; i++)
        used += (size_t)snprintf(found + used, sizeof found - used, "%s%s", i ? ", " : "", fv_tensor_file_name(in, i));
    return cli_fail(FV_BAD_DATA,
                    "%s has no tensor %s\n  found:   %s\n  try:     --name %s=NAME, if it is called otherwise there",
                    o->in, name_inside(o, name, inside, sizeof inside), found, name);
}

/* One list of NAME=... entries; `inside` when what follows are names in --in. */
static fv_status check_list(const char *flag, const char *list, bool inside, attend_known *known, const void *context,
                            const char *mechanism) {
    size_t count;
    char **entry = cli_list_split(list, &count);
    fv_status status = FV_OK;
    for (size_t i = 0; status == FV_OK && i < count; i++) {
        const size_t size = strcspn(entry[i], "=");
        if (!entry[i][size])
            status = cli_fail(FV_USAGE, "--%s: no name\n  expected NAME=%s, such as %s\n  found:   %s", flag,
                              inside ? "INSIDE" : "FILE", inside ? "q=layer.0.query" : "w=w.npy", entry[i]);
        else if (!known(context, entry[i], size))
            status = cli_fail(FV_USAGE, "--%s %s: %s has no tensor of this name\n  try:     fovea mechanisms %s", flag,
                              entry[i], mechanism, mechanism);
        else if (inside && !fv_tensor_file_has(in, entry[i] + size + 1)) {
            fv_tensor none;
            fv_tensor_file_find(in, entry[i] + size + 1, &none); /* its message suggests the nearest */
            status = cli_fail(FV_BAD_DATA, "--%s %s: %s", flag, entry[i], fv_message());
        }
    }
    cli_free(entry);
    return status;
}

fv_status attend_check_names(const attend_options *o, attend_known *known, const void *context, const char *mechanism) {
    fv_status status = check_list("tensor", o->tensor, false, known, context, mechanism);
    if (status != FV_OK || !o->name) return status;
    if (!o->in)
        return cli_fail(FV_USAGE,
                        "--name without --in\n  expected --in FILE: --name says what a tensor is called inside it\n  "
                        "found:   no --in");
    return check_list("name", o->name, true, known, context, mechanism);
}

/* ---- shapes */

fv_status attend_view(const char *name, const fv_tensor *t, attend_layout layout, int64_t heads, fv_tensor *view) {
    static const char *const shape[] = {"(batch, heads, length, head_dim)", "(batch, length, heads, head_dim)",
                                        "(batch, length, heads * head_dim)"};
    char found[128];
    fv_tensor_describe(t, found, sizeof found);
    if (t->rank != (layout == ATTEND_BLD ? 3 : 4))
        return cli_fail(FV_USAGE, "%s has the wrong number of dimensions\n  expected %s\n  found:   %s%s", name,
                        shape[layout], found,
                        t->rank == 3   ? "\n  try:     --layout bld --heads N"
                        : t->rank == 4 ? "\n  try:     --layout bhld or blhd, for all of q k v"
                                       : "");
    if (layout == ATTEND_BHLD)
        *view = *t;
    else if (layout == ATTEND_BLHD)
        *view = fv_tensor_transpose(*t, 1, 2);
    else {
        if (heads < 1 || t->dim[2] % heads)
            return cli_fail(
                FV_USAGE,
                "%lld heads do not divide the head_dim of %s\n  found:   %s\n  try:     --heads or --kv-heads "
                "with a divisor of %lld",
                (long long)heads, name, found, (long long)t->dim[2]);
        const int64_t width = t->dim[2] / heads, step = t->stride[2];
        *view = (fv_tensor){.data = t->data,
                            .dtype = t->dtype,
                            .rank = 4,
                            .dim = {t->dim[0], heads, t->dim[1], width},
                            .stride = {t->stride[0], width * step, t->stride[1], step}};
    }
    return FV_OK;
}

static void *room_for(const fv_tensor *t) {
    int64_t count = fv_tensor_count(t);
    size_t bytes;
    if (count < 0 || __builtin_mul_overflow((size_t)count, fv_dtype_size(t->dtype), &bytes)) bytes = SIZE_MAX / 2;
    return cli_keep(cli_alloc(bytes));
}

fv_tensor attend_new(fv_dtype dtype, attend_layout layout, const fv_tensor *logical) {
    fv_tensor t = fv_tensor_of(NULL, dtype, logical->rank, logical->dim);
    t.data = room_for(&t);
    if (logical->rank != 4 || layout == ATTEND_BHLD) return t;
    return fv_blhd(t.data, dtype, t.dim[0], t.dim[2], t.dim[1], t.dim[3]);
}

fv_tensor attend_as(const fv_tensor *t, fv_dtype dtype) {
    if (t->dtype == dtype && (uintptr_t)t->data % fv_dtype_size(dtype) == 0 && t->stride[t->rank - 1] == 1) return *t;
    fv_tensor copy = fv_tensor_of(NULL, dtype, t->rank, t->dim);
    copy.data = room_for(&copy);
    fv_tensor_copy(&copy, t);
    return copy;
}

fv_tensor attend_padded(const fv_tensor *t, int rank) {
    fv_tensor padded = *t;
    while (padded.rank < rank) {
        for (int i = padded.rank; i > 0; i--) {
            padded.dim[i] = padded.dim[i - 1];
            padded.stride[i] = padded.stride[i - 1];
        }
        padded.dim[0] = 1;
        padded.stride[0] = padded.dim[1] * padded.stride[1];
        ++padded.rank;
    }
    return padded;
}

fv_tensor attend_joined(const fv_tensor *past, const fv_tensor *now, attend_layout layout, fv_dtype dtype) {
    fv_tensor shape = *now;
    shape.dim[2] += past->dim[2];
    fv_tensor all = attend_new(dtype, layout, &shape);
    fv_tensor old = fv_tensor_slice(all, 2, 0, past->dim[2]),
              fresh = fv_tensor_slice(all, 2, past->dim[2], now->dim[2]);
    fv_tensor_copy(&old, past);
    fv_tensor_copy(&fresh, now);
    return all;
}

/* ---- outputs */

void attend_put(const char *name, const fv_tensor *logical, attend_layout layout, fv_dtype dtype) {
    fv_tensor t = attend_new(dtype, layout, logical);
    fv_tensor_copy(&t, logical);
    if (t.rank == 4 && layout != ATTEND_BHLD) {
        int64_t blhd[4] = {t.dim[0], t.dim[2], t.dim[1], t.dim[3]}, bld[3] = {t.dim[0], t.dim[2], t.dim[1] * t.dim[3]};
        t = layout == ATTEND_BLHD ? fv_tensor_of(t.data, dtype, 4, blhd) : fv_tensor_of(t.data, dtype, 3, bld);
    }
    outputs = cli_realloc(outputs, (output_count + 1) * sizeof *outputs);
    outputs[output_count++] = (struct output){cli_text("%s", name), t};
}

static void summary_row(cli_table *table, const struct output *one) {
    double low = INFINITY, high = -INFINITY, sum = 0;
    int64_t count = fv_tensor_count(&one->tensor), finite = 0;
    fv_tensor flat = fv_tensor_1d(one->tensor.data, one->tensor.dtype, count);
    for (int64_t i = 0; i < count; i++) {
        double x = fv_tensor_get(&flat, &i);
        if (!isfinite(x)) continue;
        low = fmin(low, x);
        high = fmax(high, x);
        sum += x;
        ++finite;
    }
    char shape[128];
    fv_tensor_describe(&one->tensor, shape, sizeof shape);
    cli_table_text(table, one->name);
    cli_table_text(table, shape);
    cli_table_number(table, low, 6);
    cli_table_number(table, high, 6);
    cli_table_number(table, finite ? sum / (double)finite : NAN, 6);
    cli_table_number(table, (double)(count - finite), 0);
}

static fv_status print_summary(void) {
    static const char *const columns[] = {"tensor", "shape", "min", "max", "mean", "not finite"};
    cli_table *table = cli_table_new(columns, 6);
    for (size_t i = 0; i < output_count; i++) summary_row(table, &outputs[i]);
    cli_table_print(table, cli_format_of(cli_global.format), stdout);
    cli_table_free(table);
    cli_say("nothing was saved      add --out FILE.safetensors, FILE.npy or FOLDER/");
    return FV_OK;
}

static bool ends(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static fv_status write_folder(const char *folder) {
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) return cli_fail(FV_FAIL, "%s: %s", folder, strerror(errno));
    for (size_t i = 0; i < output_count; i++) {
        char *path = cli_keep(cli_text("%s%s%s.npy", folder, ends(folder, "/") ? "" : "/", outputs[i].name));
        fv_status status = fv_npy_write(path, &outputs[i].tensor);
        if (status != FV_OK) return status;
    }
    return FV_OK;
}

/* What was asked for and does not fit into a file of one array. */
static void warn_left_out(const char *path) {
    char names[256] = "";
    size_t used = 0;
    for (size_t i = 1; i < output_count && used < sizeof names; i++)
        if (strcmp(outputs[i].name, "lse") != 0)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", outputs[i].name);
    if (used) cli_warn("%s holds out alone, not %s\n  try:     --out FILE.safetensors or --out FOLDER/", path, names);
}

fv_status attend_write(const attend_options *o) {
    struct stat about;
    fv_status status;
    if (!o->out) return print_summary();
    bool folder = ends(o->out, "/") || (stat(o->out, &about) == 0 && S_ISDIR(about.st_mode));
    if (folder)
        status = write_folder(o->out);
    else if (ends(o->out, ".npy")) {
        warn_left_out(o->out);
        status = fv_npy_write(o->out, &outputs[0].tensor);
    } else if (ends(o->out, ".safetensors")) {
        fv_named_tensor *all = cli_keep(cli_alloc(output_count * sizeof *all));
        for (size_t i = 0; i < output_count; i++) all[i] = (fv_named_tensor){outputs[i].name, outputs[i].tensor};
        status = fv_safetensors_write(o->out, all, (int64_t)output_count, NULL);
    } else
        return cli_fail(FV_USAGE,
                        "--out: unknown kind of file\n  expected FILE.safetensors, FILE.npy or FOLDER/\n  found:   %s",
                        o->out);
    for (size_t i = 0; status == FV_OK && i < output_count; i++) {
        char shape[128];
        fv_tensor_describe(&outputs[i].tensor, shape, sizeof shape);
        if (i == 0 || !ends(o->out, ".npy")) cli_say("%s: %s %s", o->out, outputs[i].name, shape);
    }
    return status;
}

/* ---- lists of numbers */

fv_status attend_numbers(const char *flag, const char *text, int64_t limit, int64_t **number, int64_t *count) {
    char every[32];
    snprintf(every, sizeof every, "0-%lld", (long long)limit - 1);
    const char *at = text ? text : limit > 0 ? every : "";
    *number = NULL;
    *count = 0;
    while (*at) {
        char *end;
        errno = 0;
        long long first = strtoll(at, &end, 10), last = first;
        bool good = end != at && errno == 0 && *at != '-' && *at != '+' && *at != ' ';
        if (good && *end == '-') {
            at = end + 1;
            last = strtoll(at, &end, 10);
            good = end != at && errno == 0;
        }
        if (!good || (*end && *end != ',') || first > last || first < 0 || last >= limit) {
            cli_free(*number);
            *number = NULL;
            return cli_fail(FV_USAGE,
                            "%s: wrong numbers\n  expected numbers from 0 to %lld, such as 0,2-3\n  found:   %s", flag,
                            (long long)limit - 1, text);
        }
        *number = cli_realloc(*number, (size_t)(*count + last - first + 1) * sizeof **number);
        while (first <= last) (*number)[(*count)++] = first++;
        at = end + (*end == ',');
    }
    return FV_OK;
}
