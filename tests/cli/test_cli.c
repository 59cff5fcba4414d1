/* The command from outside: `fovea attend` against the library, and against the node tests of the ONNX Attention
 * operator when FOVEA_CONFORMANCE names the folder that holds them (inputs in.*, outputs out.*, attributes as JSON
 * in the metadata). The program is the one in the same build folder. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fovea/attention.h"
#include "fovea/files.h"
#include "fovea/statistics.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char program[512], folder[] = "/tmp/fovea-cli-XXXXXX";

static char *in_folder(const char *name) {
    static char path[4][600];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

/* Exit code of `fovea WORDS`; output is thrown away unless FOVEA_TEST_SHOW is set. */
static int run(const char *words) {
    char line[4096];
    snprintf(line, sizeof line, "'%s' %s %s", program, words, getenv("FOVEA_TEST_SHOW") ? "" : ">/dev/null 2>&1");
    int status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* Largest |a - b| - relative * |b|; -inf equals -inf. */
static double excess(const fv_tensor *a, const fv_tensor *b, double relative) {
    double worst = 0;
    int64_t index[FV_MAX_DIMS] = {0};
    if (fv_tensor_count(a) != fv_tensor_count(b)) return INFINITY;
    fv_tensor x = fv_tensor_1d(a->data, a->dtype, fv_tensor_count(a)),
              y = fv_tensor_1d(b->data, b->dtype, fv_tensor_count(b));
    for (index[0] = 0; index[0] < x.dim[0]; index[0]++) {
        double p = fv_tensor_get(&x, index), q = fv_tensor_get(&y, index);
        if (p == q) continue;
        double e = fabs(p - q) - relative * fabs(q);
        if (!(e <= worst)) worst = e;
    }
    return worst;
}

/* ---- against the library */

enum { B = 2, H = 4, HKV = 2, LQ = 5, LK = 7, D = 8, DV = 6 };
static float q[B * H * LQ * D], k[B * HKV * LK * D], v[B * HKV * LK * DV], out[B * H * LQ * DV], lse[B * H * LQ];
static float dout[B * H * LQ * DV], dq[B * H * LQ * D], dk[B * HKV * LK * D], dv[B * HKV * LK * DV];

static void fill(float *x, size_t count, unsigned seed) {
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
    }
}

static void write_npy(const char *name, fv_tensor t) { assert_int_equal(fv_npy_write(in_folder(name), &t), FV_OK); }

static void same(const char *file, const char *name, fv_tensor want) {
    fv_tensor_file *f;
    fv_tensor found;
    assert_int_equal(fv_tensor_file_open(&f, in_folder(file)), FV_OK);
    assert_int_equal(fv_tensor_file_find(f, name, &found), FV_OK);
    assert_true(excess(&found, &want, 0) == 0);
    fv_tensor_file_close(f);
}

static fv_attention_tensors library(void) {
    fv_attention_tensors x = {0};
    x.t[FV_Q] = fv_bhld(q, FV_F32, B, H, LQ, D);
    x.t[FV_K] = fv_bhld(k, FV_F32, B, HKV, LK, D);
    x.t[FV_V] = fv_bhld(v, FV_F32, B, HKV, LK, DV);
    x.t[FV_OUT] = fv_bhld(out, FV_F32, B, H, LQ, DV);
    x.t[FV_LSE] = fv_tensor_of(lse, FV_F32, 3, (int64_t[]){B, H, LQ});
    x.d[FV_OUT] = fv_bhld(dout, FV_F32, B, H, LQ, DV);
    x.d[FV_Q] = fv_bhld(dq, FV_F32, B, H, LQ, D);
    x.d[FV_K] = fv_bhld(dk, FV_F32, B, HKV, LK, D);
    x.d[FV_V] = fv_bhld(dv, FV_F32, B, HKV, LK, DV);
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    how.causal = FV_CAUSAL_LOWER_RIGHT;
    how.softcap = 2;
    assert_int_equal(fv_attention(&how, NULL, &x), FV_OK);
    return x;
}

static int set_up(void **state) {
    (void)state;
    fill(q, sizeof q / sizeof *q, 1);
    fill(k, sizeof k / sizeof *k, 2);
    fill(v, sizeof v / sizeof *v, 3);
    fill(dout, sizeof dout / sizeof *dout, 4);
    return 0;
}

static void attend_equals_library(void **state) {
    (void)state;
    fv_attention_tensors x = library();
    write_npy("q.npy", x.t[FV_Q]);
    write_npy("k.npy", x.t[FV_K]);
    write_npy("v.npy", x.t[FV_V]);
    write_npy("do.npy", x.d[FV_OUT]);
    char words[2048];
    snprintf(words, sizeof words, "attend %s %s %s --do %s --causal lower-right --softcap 2 --out %s/o.safetensors",
             in_folder("q.npy"), in_folder("k.npy"), in_folder("v.npy"), in_folder("do.npy"), folder);
    assert_int_equal(run(words), 0);
    same("o.safetensors", "out", x.t[FV_OUT]);
    same("o.safetensors", "lse", x.t[FV_LSE]);
    same("o.safetensors", "dq", x.d[FV_Q]);
    same("o.safetensors", "dk", x.d[FV_K]);
    same("o.safetensors", "dv", x.d[FV_V]);
}

/* bf16 files are computed as bf16 tensors; the statistics of chosen heads is the library's. */
static void half_and_statistics(void **state) {
    (void)state;
    static uint16_t hq[B * H * LQ * D], hk[B * HKV * LK * D], hv[B * HKV * LK * DV], ho[B * H * LQ * DV];
    static float sums[B * H * LK], blocks[B * H * 3 * 2];
    fv_attention_tensors full = library(), x = {0};
    x.t[FV_Q] = fv_bhld(hq, FV_BF16, B, H, LQ, D), x.t[FV_K] = fv_bhld(hk, FV_BF16, B, HKV, LK, D);
    x.t[FV_V] = fv_bhld(hv, FV_BF16, B, HKV, LK, DV), x.t[FV_OUT] = fv_bhld(ho, FV_BF16, B, H, LQ, DV);
    x.t[FV_LSE] = full.t[FV_LSE];
    fv_named_tensor in[3] = {{"q", x.t[FV_Q]}, {"k", x.t[FV_K]}, {"v", x.t[FV_V]}};
    for (int i = 0; i < 3; i++) assert_int_equal(fv_tensor_copy(&in[i].tensor, &full.t[i]), FV_OK);
    assert_int_equal(fv_safetensors_write(in_folder("half.safetensors"), in, 3, NULL), FV_OK);
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    fv_attention_plan *plan;
    const fv_attention_call call = {.seed = 3};
    how.dropout = 0.25;
    assert_int_equal(fv_attention(&how, &call, &x), FV_OK);
    assert_int_equal(fv_attention_plan_create(&plan, &how, &x), FV_OK);
    fv_attention_statistics want = FV_ATTENTION_STATISTICS_DEFAULT;
    want.pool_q = 2, want.pool_k = 4, want.dropout = true;
    want.max = fv_bhld(blocks, FV_F32, B, H, 3, 2);
    want.columns = fv_tensor_of(sums, FV_F32, 3, (int64_t[]){B, H, LK});
    void *scratch = malloc(fv_attention_statistics_scratch(plan, &want));
    assert_int_equal(fv_attention_statistics_compute(plan, &call, &x, &want, scratch), FV_OK);
    free(scratch);
    fv_attention_plan_free(plan);
    char words[2048];
    snprintf(words, sizeof words,
             "attend --in %s --dropout 0.25 --seed 3 --statistics pooled,columns --pool 2,4 --statistics-dropout "
             "--head-list 1-3 --out %s/h.safetensors",
             in_folder("half.safetensors"), folder);
    assert_int_equal(run(words), 0);
    same("h.safetensors", "out", x.t[FV_OUT]);
    same("h.safetensors", "lse", x.t[FV_LSE]);
    static float three[B * 3 * LK], cells[B * 3 * 3 * 2];
    fv_tensor part = fv_tensor_of(three, FV_F32, 3, (int64_t[]){B, 3, LK}),
              all = fv_tensor_slice(want.columns, 1, 1, 3);
    assert_int_equal(fv_tensor_copy(&part, &all), FV_OK);
    same("h.safetensors", "columns", part);
    part = fv_bhld(cells, FV_F32, B, 3, 3, 2), all = fv_tensor_slice(want.max, 1, 1, 3);
    assert_int_equal(fv_tensor_copy(&part, &all), FV_OK);
    same("h.safetensors", "pooled_max", part);
}

/* The same numbers stored as (batch, length, heads * width) give the same numbers in that layout. */
static void layouts_agree(void **state) {
    (void)state;
    fv_attention_tensors x = library();
    static float tq[B * H * LQ * D], tk[B * HKV * LK * D], tv[B * HKV * LK * DV], to[B * H * LQ * DV];
    const struct {
        fv_tensor from;
        float *to;
        const char *name;
    } each[] = {
        {x.t[FV_Q], tq, "bq.npy"}, {x.t[FV_K], tk, "bk.npy"}, {x.t[FV_V], tv, "bv.npy"}, {x.t[FV_OUT], to, NULL}};
    for (int i = 0; i < 4; i++) {
        const fv_tensor *t = &each[i].from;
        fv_tensor view = fv_blhd(each[i].to, FV_F32, t->dim[0], t->dim[2], t->dim[1], t->dim[3]);
        assert_int_equal(fv_tensor_copy(&view, t), FV_OK);
        if (each[i].name)
            write_npy(each[i].name,
                      fv_tensor_of(each[i].to, FV_F32, 3, (int64_t[]){t->dim[0], t->dim[2], t->dim[1] * t->dim[3]}));
    }
    char words[2048];
    snprintf(words, sizeof words,
             "attend %s %s %s --layout bld --heads 4 --kv-heads 2 --causal lower-right --softcap 2 --out %s/bo.npy",
             in_folder("bq.npy"), in_folder("bk.npy"), in_folder("bv.npy"), folder);
    assert_int_equal(run(words), 0);
    same("bo.npy", "", fv_tensor_of(to, FV_F32, 3, (int64_t[]){B, LQ, H * DV}));
}

/* A past of the first keys and the rest as new keys is the whole. */
static void past_is_a_prefix(void **state) {
    (void)state;
    fv_attention_tensors x = library();
    static float past_k[B * HKV * 3 * D], past_v[B * HKV * 3 * DV], new_k[B * HKV * 4 * D], new_v[B * HKV * 4 * DV];
    const struct {
        fv_tensor from;
        int64_t start, count;
        float *to;
        const char *name;
    } each[] = {{x.t[FV_K], 0, 3, past_k, "pk.npy"},
                {x.t[FV_V], 0, 3, past_v, "pv.npy"},
                {x.t[FV_K], 3, 4, new_k, "nk.npy"},
                {x.t[FV_V], 3, 4, new_v, "nv.npy"}};
    for (int i = 0; i < 4; i++) {
        fv_tensor part = fv_tensor_slice(each[i].from, 2, each[i].start, each[i].count);
        fv_tensor to = fv_bhld(each[i].to, FV_F32, part.dim[0], part.dim[1], part.dim[2], part.dim[3]);
        assert_int_equal(fv_tensor_copy(&to, &part), FV_OK);
        write_npy(each[i].name, to);
    }
    write_npy("q.npy", x.t[FV_Q]);
    char words[2048];
    snprintf(
        words, sizeof words,
        "attend %s %s %s --past-k %s/pk.npy --past-v %s/pv.npy --causal lower-right --softcap 2 --out %s/p.safetensors",
        in_folder("q.npy"), in_folder("nk.npy"), in_folder("nv.npy"), folder, folder, folder);
    assert_int_equal(run(words), 0);
    same("p.safetensors", "out", x.t[FV_OUT]);
    same("p.safetensors", "present_k", x.t[FV_K]);
    same("p.safetensors", "present_v", x.t[FV_V]);
}

/* ---- the ONNX operator */

static double attribute(const char *json, const char *name, double missing) {
    char key[64];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(json, key);
    return at ? strtod(at + strlen(key), NULL) : missing;
}

/* Examples made before onnx/onnx#7867 (onnx 1.22) add the mask before the softcap, which lets masked keys through,
 * and number the modes of the fourth output otherwise; the operator was corrected to the order fovea has. */
static bool of_old_text(fv_tensor_file *f) {
    const char *version = fv_tensor_file_metadata(f, "onnx");
    return !version || strtod(version + strcspn(version, ".") + 1, NULL) < 22;
}

/* What the command does not say in one call, and tests/conformance does in C: the old order, a mask shorter than the
 * keys, scores before a mask that hides, and a window that is no causal one and counts from the end of each
 * sequence. */
static bool set_aside(fv_tensor_file *f) {
    const char *json = fv_tensor_file_metadata(f, "attributes");
    fv_tensor mask = {0}, keys;
    const bool masked = fv_tensor_file_has(f, "in.attn_mask"), causal = attribute(json, "is_causal", 0) != 0;
    const double mode = attribute(json, "qk_matmul_output_mode", 0);
    if (masked && attribute(json, "softcap", 0) != 0 && of_old_text(f)) return true;
    if (fv_tensor_file_find(f, "in.K", &keys) != FV_OK) return true;
    if (masked && fv_tensor_file_find(f, "in.attn_mask", &mask) == FV_OK && mask.dim[mask.rank - 1] != 1 &&
        !fv_tensor_file_has(f, "in.past_key") && mask.dim[mask.rank - 1] < keys.dim[keys.rank - 2])
        return true;
    if (fv_tensor_file_has(f, "out.qk_matmul_output") && mode < 2 && !of_old_text(f) &&
        (causal || mask.dtype == FV_BOOL))
        return true;
    return fv_tensor_file_has(f, "in.nonpad_kv_seqlen") && !causal && attribute(json, "left_window_size", -1) >= 0;
}

static void onnx_words(fv_tensor_file *f, const char *path, char *words, size_t size) {
    static const char *const captures[2][4] = {{"raw", "softcapped", "biased", "softmax"},
                                               {"raw", "biased", "softcapped", "softmax"}}; /* of the old text */
    const char *json = fv_tensor_file_metadata(f, "attributes");
    fv_tensor first, mask;
    assert_int_equal(fv_tensor_file_find(f, "in.Q", &first), FV_OK);
    size_t n = (size_t)snprintf(words, size,
                                "attend --in '%s' --name q=in.Q --name k=in.K --name v=in.V --out %s/onnx.safetensors",
                                path, folder);
    if (first.rank == 3)
        n += (size_t)snprintf(words + n, size - n, " --layout bld --heads %.0f --kv-heads %.0f",
                              attribute(json, "q_num_heads", 0), attribute(json, "kv_num_heads", 0));
    if (fv_tensor_file_has(f, "in.attn_mask")) {
        fv_tensor_file_find(f, "in.attn_mask", &mask);
        n += (size_t)snprintf(words + n, size - n, " --name %s=in.attn_mask", mask.dtype == FV_BOOL ? "mask" : "bias");
    }
    if (fv_tensor_file_has(f, "in.past_key"))
        n += (size_t)snprintf(words + n, size - n, " --name past_k=in.past_key --name past_v=in.past_value");
    const bool lengths = fv_tensor_file_has(f, "in.nonpad_kv_seqlen");
    if (lengths) n += (size_t)snprintf(words + n, size - n, " --name kv_len=in.nonpad_kv_seqlen");
    if (attribute(json, "is_causal", 0) != 0)
        n += (size_t)snprintf(words + n, size - n, " --causal %s", lengths ? "lower-right" : "upper-left");
    n += (size_t)snprintf(words + n, size - n, " --window-left %.0f --window-right %.0f",
                          attribute(json, "left_window_size", -1), attribute(json, "right_window_size", -1));
    if (attribute(json, "scale", 0) != 0)
        n += (size_t)snprintf(words + n, size - n, " --scale %.17g", attribute(json, "scale", 0));
    if (attribute(json, "softcap", 0) != 0)
        n += (size_t)snprintf(words + n, size - n, " --softcap %.17g", attribute(json, "softcap", 0));
    if (fv_tensor_file_has(f, "out.qk_matmul_output"))
        snprintf(words + n, size - n, " --weights %s",
                 captures[of_old_text(f)][(int)attribute(json, "qk_matmul_output_mode", 0)]);
}

/* True when every output of the example agrees. */
static bool onnx_agrees(fv_tensor_file *f, const char *name) {
    static const char *const pairs[][2] = {{"out.Y", "out"},
                                           {"out.present_key", "present_k"},
                                           {"out.present_value", "present_v"},
                                           {"out.qk_matmul_output", "weights"}};
    fv_tensor_file *ours;
    bool good = true;
    if (fv_tensor_file_open(&ours, in_folder("onnx.safetensors")) != FV_OK) return false;
    for (int i = 0; i < 4; i++) {
        fv_tensor want, found;
        if (!fv_tensor_file_has(f, pairs[i][0])) continue;
        fv_tensor_file_find(f, pairs[i][0], &want);
        bool there = fv_tensor_file_find(ours, pairs[i][1], &found) == FV_OK;
        const double near = want.dtype == FV_BF16 ? 0x1p-6 : want.dtype == FV_F16 ? 5e-3 : 1e-5;
        double e = there ? excess(&found, &want, near) : INFINITY;
        if (e <= near) continue;
        printf("%s: %s differs by %g\n", name, pairs[i][0], e);
        good = false;
    }
    fv_tensor_file_close(ours);
    return good;
}

static void onnx_attention(void **state) {
    (void)state;
    const char *from = getenv("FOVEA_CONFORMANCE");
    DIR *list = from ? opendir(from) : NULL;
    int tried = 0, bad = 0, aside = 0;
    if (!list) {
        printf("skipped: ONNX Attention node tests (FOVEA_CONFORMANCE does not name their folder)\n");
        skip();
    }
    for (struct dirent *one; (one = readdir(list));) {
        char path[1024], words[3072];
        fv_tensor_file *f;
        if (strncmp(one->d_name, "attention_", 10) != 0) continue;
        snprintf(path, sizeof path, "%s/%s", from, one->d_name);
        assert_int_equal(fv_tensor_file_open(&f, path), FV_OK);
        if (set_aside(f)) {
            printf("set aside: %s\n", one->d_name);
            ++aside;
            fv_tensor_file_close(f);
            continue;
        }
        onnx_words(f, path, words, sizeof words);
        unlink(in_folder("onnx.safetensors"));
        int code = run(words);
        if (code) printf("%s: exit code %d\n", one->d_name, code);
        bad += code != 0 || !onnx_agrees(f, one->d_name);
        ++tried;
        fv_tensor_file_close(f);
    }
    closedir(list);
    printf("%d ONNX Attention examples, %d differ, %d set aside\n", tried, bad, aside);
    assert_true(tried > 0);
    assert_int_equal(bad, 0);
}

int main(int argc, char **argv) {
    (void)argc;
    const char *slash = strrchr(argv[0], '/');
    snprintf(program, sizeof program, "%.*s/../../fovea", slash ? (int)(slash - argv[0]) : 1, slash ? argv[0] : ".");
    if (access(program, X_OK) != 0 || !mkdtemp(folder)) {
        fprintf(stderr, "test_cli: no program %s\n", program);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(attend_equals_library), cmocka_unit_test(half_and_statistics),
                                       cmocka_unit_test(layouts_agree), cmocka_unit_test(past_is_a_prefix),
                                       cmocka_unit_test(onnx_attention)};
    int failed = cmocka_run_group_tests(tests, set_up, NULL);
    char line[600];
    snprintf(line, sizeof line, "rm -rf '%s'", folder);
    return system(line) != 0 ? 1 : failed;
}
