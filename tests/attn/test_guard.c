/* Every tensor of a call stands against a page nobody may touch, once with its first byte behind one and once with
 * its last byte before one; inputs are mapped read-only while the call runs. Forward, backward, weights, every
 * mechanism, every instruction set. A touch ends the program with the line that repeats it:  test_guard MECHANISM
 * SEED */
#include "attn_features.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static char line[256]; /* what is running */

static void on_fault(int number) {
    (void)number;
    if (write(2, line, strlen(line)) < 0) _exit(2);
    _exit(1);
}

/* ---- a block of memory between two closed pages */

typedef struct guarded {
    char *map;
    size_t bytes, pages; /* pages: bytes that may be touched, a multiple of the page size */
    fv_tensor *tensor;   /* put back afterwards */
    fv_tensor before;
} guarded;

static size_t page_size;
static guarded blocks[2 * FV_OPERANDS + 2];
static int used;

static char *guard(size_t bytes, bool at_end, guarded **block) {
    guarded *g = &blocks[used++];
    g->tensor = NULL, g->bytes = bytes, g->pages = (bytes + page_size) / page_size * page_size;
    g->map = mmap(NULL, g->pages + 2 * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g->map == MAP_FAILED) abort();
    mprotect(g->map, page_size, PROT_NONE);
    mprotect(g->map + page_size + g->pages, page_size, PROT_NONE);
    memset(g->map + page_size, 0xff, g->pages);
    *block = g;
    return g->map + page_size + (at_end ? g->pages - bytes : 0);
}

static void guard_tensor(fv_tensor *t, bool at_end, bool input) {
    if (!t->rank) return;
    int64_t last = 0;
    for (int a = 0; a < t->rank; a++) last += t->dim[a] > 0 ? (t->dim[a] - 1) * t->stride[a] : 0;
    const size_t bytes = fv_tensor_count(t) > 0 ? (size_t)(last + 1) * fv_dtype_size(t->dtype) : 0;
    guarded *g;
    char *data = guard(bytes, at_end, &g);
    if (bytes) memcpy(data, t->data, bytes);
    g->tensor = t, g->before = *t;
    t->data = data;
    if (input) mprotect(g->map + page_size, g->pages, PROT_READ);
}

/* What was written goes back to the tensor's own memory. */
static void release_all(void) {
    while (used) {
        guarded *g = &blocks[--used];
        if (g->tensor) {
            if (g->bytes) memcpy(g->before.data, g->tensor->data, g->bytes);
            *g->tensor = g->before;
        }
        munmap(g->map, g->pages + 2 * page_size);
    }
}

/* ---- calls */

static void guard_case(attn_case *c, bool at_end, bool backward) {
    for (int p = 0; p < FV_OPERANDS; p++) {
        guard_tensor(&c->x.t[p], at_end, !fv_operand_is(p, FV_ROLE_RESULT) || backward);
        if (backward) guard_tensor(&c->x.d[p], at_end, fv_operand_is(p, FV_ROLE_RESULT));
    }
}

static fv_status one_call(attn_case *c, const fv_attention_plan *plan, bool at_end, bool backward) {
    if (backward && !case_wants(c)) return FV_OK;
    guard_case(c, at_end, backward);
    guarded *g;
    const size_t bytes = fv_attention_scratch(plan, backward);
    void *scratch = guard(bytes, at_end, &g);
    const fv_status status = backward ? fv_attention_backward(plan, &c->call, &c->x, scratch)
                                      : fv_attention_forward(plan, &c->call, &c->x, scratch);
    release_all();
    return status;
}

static void all_weights(attn_case *c, const fv_attention_plan *plan, bool at_end) {
    for (int64_t n = 0; n < plan->sequences; n++) {
        const fv__sequence s = fv__attn_sequence(&(fv__run){plan, &c->x, c->call}, n);
        if (!s.q_len || !(plan->mechanism->info.can & FV_CAN_WEIGHTS) || !c->h) continue;
        guard_case(c, at_end, true);
        guarded *g;
        const int64_t rows[2] = {0, s.q_len - 1};
        fv_tensor to = fv_tensor_2d(NULL, plan->dtype, 2, plan->k_len);
        to.data = guard((size_t)(2 * plan->k_len) * fv_dtype_size(plan->dtype), at_end, &g);
        for (int capture = FV_CAPTURE_RAW; capture <= FV_CAPTURE_SOFTMAX; capture++) {
            const fv_status status =
                fv_attention_weights(plan, &c->call, &c->x, (fv_capture)capture, n, c->h - 1, rows, 2, &to);
            assert_true(status == FV_OK || status == FV_USAGE); /* a mechanism may have no scores, only weights */
        }
        release_all();
    }
}

static void guarded_case(attn_case *c, const char *mechanism, const char *where) {
    fv_attention_plan *plan;
    snprintf(line, sizeof line, "attn/test_guard '%s' %llu   (%s touches memory outside its tensors)\n", mechanism,
             (unsigned long long)c->seed, where);
    if (fv_attention_plan_create(&plan, &c->how, &c->x) != FV_OK) fail_msg("%s%s", line, fv_message());
    for (int at_end = 0; at_end < 2; at_end++) {
        fv_status status = one_call(c, plan, at_end, false);
        if (status == FV_OK && (plan->mechanism->info.can & FV_CAN_BACKWARD)) status = one_call(c, plan, at_end, true);
        if (status != FV_OK) fail_msg("%s%s", line, fv_message());
        all_weights(c, plan, at_end);
    }
    fv_attention_plan_free(plan);
}

/* A mechanism may refuse windows, nothing else of what its row promises. */
static void make_any(attn_case *c, const char *mechanism, uint64_t seed, fv_dtype dtype) {
    fv_attention_plan *plan;
    case_make(c, mechanism, seed, dtype, seed % 25 ? 60 : 200);
    if (fv_attention_plan_create(&plan, &c->how, &c->x) != FV_OK) c->how.window = (fv_window){0};
    fv_attention_plan_free(plan);
}

static void guarded_seed(const char *mechanism, uint64_t seed, bool exact) {
    exact_case e = {.blocks = NULL};
    signal(SIGSEGV, on_fault), signal(SIGBUS, on_fault); /* cmocka has its own otherwise */
    fv_set_threads(1 + (int)(seed % 2));
    for (int isa = 0; isa <= FV_ISAS; isa++) { /* after the last one: f64 */
        const fv_dtype dtype = isa == FV_ISAS ? FV_F64 : FV_F32;
        if (isa < FV_ISAS && !fv__simd_use((fv__isa)isa)) continue;
        if (exact)
            exact_make(&e, mechanism, seed, dtype, seed % 25 ? 100000 : 3000000, 0);
        else
            make_any(&e.c, mechanism, seed, dtype);
        guarded_case(&e.c, mechanism, isa == FV_ISAS ? "f64" : fv__isa_name((fv__isa)isa));
        exact_free(&e);
    }
    fv__simd_use(FV_ISAS);
    fv_set_threads(0);
}

static uint64_t count_of(uint64_t normal) {
    return getenv("FOVEA_TEST_LONG") ? normal * 20 : getenv("FOVEA_TEST_QUICK") ? normal / 10 : normal;
}

static void exact_test(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= count_of(600); seed++) guarded_seed("softmax", seed, true);
    for (uint64_t seed = 1; seed <= count_of(200); seed++) guarded_seed("window:left=9,right=2", seed, true);
}

static void every_mechanism_test(void **state) {
    (void)state;
    assert_true(fv_mechanism_count() >= 5);
    for (size_t m = 0; m < fv_mechanism_count(); m++)
        for (uint64_t seed = 1; seed <= count_of(60); seed++) guarded_seed(fv_mechanism_at(m)->name, seed, false);
}

/* The pages do close: a kernel that reads one element too many is seen. */
static void control_test(void **state) {
    (void)state;
    for (int side = 0; side < 2; side++) {
        guarded *g;
        volatile float *p = (volatile float *)(void *)guard(64, side == 1, &g);
        float sum = p[0] + p[15];
        assert_true(isnan(sum)); /* inside: filled with 0xff */
        const pid_t child = fork();
        if (child == 0) {
            signal(SIGSEGV, SIG_DFL);
            sum = side ? p[16] : p[-1];
            _exit(isnan(sum) ? 3 : 4);
        }
        int status = 0;
        waitpid(child, &status, 0);
        assert_true(WIFSIGNALED(status) ||
                    (WIFEXITED(status) && WEXITSTATUS(status) == 1)); /* 1: a sanitizer's report */
        release_all();
    }
}

int main(int argc, char **argv) {
    page_size = (size_t)sysconf(_SC_PAGESIZE);
    if (argc == 3) {
        const bool exact = !strncmp(argv[1], "softmax", 7) || !strncmp(argv[1], "window", 6);
        guarded_seed(argv[1], strtoull(argv[2], NULL, 10), false);
        if (exact) guarded_seed(argv[1], strtoull(argv[2], NULL, 10), true);
        return 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(control_test), cmocka_unit_test(exact_test),
                                       cmocka_unit_test(every_mechanism_test)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
