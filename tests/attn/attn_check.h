/* Checks of one mechanism over random cases, for the tests of single mechanisms: engine against reference, gradients
 * against central differences, bits for any number of threads. A case is made by attn_case.h and then fitted to the
 * mechanism by its test. */
#ifndef FV_TESTS_ATTN_CHECK_H
#define FV_TESTS_ATTN_CHECK_H

#include "attn_case.h"
#include "support/differences.h"

typedef void fit_fn(attn_case *c);

static int check_failures;

static inline void check_complain(const attn_case *c, const char *where, const char *what, double found,
                                  double wanted) {
    if (check_failures++ > 20) return;
    fprintf(stderr, "'%s' case %llu, %s %s: %.12g, wanted %.12g (B%d H%d/%d L%d,%d D%d,%d)\n", c->how.mechanism,
            (unsigned long long)c->seed, where, what, found, wanted, (int)c->b, (int)c->h, (int)c->kv, (int)c->lq,
            (int)c->lk, (int)c->d, (int)c->dv);
}

static inline void check_make(attn_case *c, const char *mechanism, uint64_t seed, fv_dtype dtype, int64_t longest,
                              fit_fn *fit) {
    case_make(c, mechanism, seed, dtype, longest);
    if (fit) fit(c);
}

/* ---- against the reference: f64 and every instruction set; f32 gradients against those in f64 */

static inline void check_close(const attn_case *c, const attn_case *with, const char *where, fv_operand operand,
                               bool gradient, double tolerance) {
    const fv_tensor *a = gradient ? &c->x.d[operand] : &c->x.t[operand],
                    *b = gradient ? &with->x.d[operand] : &with->x.t[operand];
    if (!a->rank) return;
    double size;
    const double gap = difference(a, b, &size), allowed = tolerance * (1 + size);
    char what[32];
    snprintf(what, sizeof what, "%s%s", gradient ? "d" : "", fv_operand_name(operand));
    if (!(gap <= allowed)) check_complain(c, where, what, gap, allowed);
    if (!gaps_untouched(c, a, (gradient ? FV_OPERANDS : 0) + (int)operand))
        check_complain(c, where, "writes outside", 1, 0);
}

static inline void check_reference(const char *mechanism, uint64_t seed, int64_t longest, fit_fn *fit) {
    attn_case reference, exact, fast;
    fv_set_threads(1); /* more in check_threads */
    check_make(&reference, mechanism, seed, FV_F64, longest, fit);
    check_make(&exact, mechanism, seed, FV_F64, longest, fit);
    if (case_run(&reference, RUN_REFERENCE) != FV_OK || case_run(&exact, RUN_FORWARD | RUN_BACKWARD) != FV_OK) {
        check_complain(&exact, "f64", fv_message(), 0, 0);
    } else {
        check_close(&exact, &reference, "f64", FV_OUT, false, 1e-12);
        check_close(&exact, &reference, "f64", FV_LSE, false, 1e-12);
        check_close(&exact, &reference, "f64", FV_STATE_OUT, false, 1e-12);
        for (int isa = 0; isa < FV_ISAS; isa++) {
            if (!fv__simd_use((fv__isa)isa)) continue;
            check_make(&fast, mechanism, seed, FV_F32, longest, fit);
            if (case_run(&fast, RUN_FORWARD | RUN_BACKWARD) != FV_OK)
                check_complain(&fast, fv__isa_name((fv__isa)isa), fv_message(), 0, 0);
            check_close(&fast, &reference, fv__isa_name((fv__isa)isa), FV_OUT, false, 1e-5);
            check_close(&fast, &reference, fv__isa_name((fv__isa)isa), FV_LSE, false, 1e-5);
            check_close(&fast, &reference, fv__isa_name((fv__isa)isa), FV_STATE_OUT, false, 1e-5);
            for (int p = 0; p < FV_OPERANDS; p++)
                if (fv_operand_is(p, FV_ROLE_DIFFERENTIABLE))
                    check_close(&fast, &exact, fv__isa_name((fv__isa)isa), (fv_operand)p, true, 4e-5);
            case_free(&fast);
        }
        fv__simd_use(FV_ISAS);
    }
    case_free(&reference);
    case_free(&exact);
}

/* ---- gradients in f64 against central differences */

/* The features and relu have a kink: a step that crosses it is repeated with smaller ones, down to what doubles
 * resolve. */
static inline bool check_element(attn_case *c, const fv_tensor *t, int64_t at, double got, double size, double *want) {
    static const double steps[] = {4e-3, 2e-4, 2e-5};
    for (int i = 0; i < 3; i++) {
        *want = richardson(case_loss, c, (double *)t->data + at, steps[i], NULL);
        if (fabs(*want - got) <= 1e-8 * fmax(size, 1)) return true;
    }
    return false;
}

/* Returns the number of elements compared. */
static inline int64_t check_gradients(const char *mechanism, uint64_t seed, int64_t longest, fit_fn *fit) {
    attn_case c;
    int64_t checked = 0;
    fv_set_threads(1);
    check_make(&c, mechanism, seed, FV_F64, longest, fit);
    if (case_run(&c, RUN_FORWARD | RUN_BACKWARD) != FV_OK) check_complain(&c, "gradient", fv_message(), 0, 0);
    for (int p = 0; p < FV_OPERANDS; p++)
        if (fv_operand_is(p, FV_ROLE_DIFFERENTIABLE)) {
            const fv_tensor *t = &c.x.t[p], *d = &c.x.d[p];
            const int64_t count = d->rank ? fv_tensor_count(t) : 0, step = count > 12 ? count / 12 : 1;
            double size = 0, want;
            for (int64_t n = 0; n < count; n++) size = fmax(size, fabs(get_at(d, place(d, n))));
            for (int64_t n = step > 1 ? below(&c, step) : 0; n < count; n += step) {
                const double got = get_at(d, place(d, n));
                if (!isfinite(get_at(t, place(t, n)))) continue;
                checked++;
                if (!check_element(&c, t, place(t, n), got, size, &want))
                    check_complain(&c, "gradient of", fv_operand_name((fv_operand)p), got, want);
            }
        }
    case_free(&c);
    return checked;
}

/* ---- bits */

static inline void check_same(const attn_case *c, const attn_case *with, const char *where) {
    for (int p = 0; p < FV_OPERANDS; p++) {
        const bool output = p == FV_OUT || p == FV_LSE || p == FV_STATE_OUT,
                   gradient = fv_operand_is(p, FV_ROLE_DIFFERENTIABLE);
        if (output && c->x.t[p].rank && !same_bytes(&c->x.t[p], &with->x.t[p]))
            check_complain(c, where, fv_operand_name((fv_operand)p), 1, 0);
        if (gradient && c->x.d[p].rank && !same_bytes(&c->x.d[p], &with->x.d[p]))
            check_complain(c, where, fv_operand_name((fv_operand)p), 1, 0);
    }
}

static inline void check_threads(const char *mechanism, uint64_t seed, int64_t longest, fit_fn *fit) {
    attn_case one, many;
    const int before = fv_threads();
    fv_set_threads(1);
    check_make(&one, mechanism, seed, FV_F32, longest, fit);
    if (case_run(&one, RUN_FORWARD | RUN_BACKWARD) != FV_OK) check_complain(&one, "one thread", fv_message(), 0, 0);
    for (int threads = 2; threads <= 4; threads++) {
        fv_set_threads(threads);
        check_make(&many, mechanism, seed, FV_F32, longest, fit);
        if (case_run(&many, RUN_FORWARD | RUN_BACKWARD) != FV_OK) check_complain(&many, "threads", fv_message(), 0, 0);
        check_same(&many, &one, "threads");
        case_free(&many);
    }
    fv_set_threads(before);
    case_free(&one);
}

/* Sequence number `n` of a packed case as a case of its own, on the same inputs; outputs and gradients have memory of
 * their own. */
static inline void check_cut_out(attn_case *c, const attn_case *packed, int64_t n) {
    const int32_t *cu_q = packed->x.t[FV_CU_Q].data,
                  *cu_k = packed->x.t[FV_CU_K].rank ? packed->x.t[FV_CU_K].data : cu_q;
    *c = (attn_case){
        .seed = packed->seed, .dtype = packed->dtype, .how = packed->how, .call = packed->call, .x = packed->x};
    c->x.t[FV_CU_Q].rank = c->x.t[FV_CU_K].rank = 0;
    for (int p = 0; p < FV_OPERANDS; p++) {
        const bool rows = fv_operand_is_qkv(p) || p == FV_LOG_DECAY || p == FV_BETA || p == FV_OUT || p == FV_LSE;
        const bool state = p == FV_STATE || p == FV_STATE_OUT; /* one for each sequence */
        const int32_t *cu = p == FV_K || p == FV_V ? cu_k : cu_q;
        fv_tensor *both[2] = {&c->x.t[p], &c->x.d[p]};
        for (int i = 0; i < 2; i++) {
            const bool written = (i == 0) == (fv_operand_is(p, FV_ROLE_RESULT));
            if (!both[i]->rank || p == FV_CU_Q || p == FV_CU_K) continue;
            if (state) *both[i] = fv_tensor_slice(*both[i], 0, n, 1);
            if (rows) *both[i] = fv_tensor_slice(*both[i], 2, cu[n], cu[n + 1] - cu[n]);
            if (written) *both[i] = make_tensor(c, i * FV_OPERANDS + p, both[i]->rank, both[i]->dim, CANARY);
        }
    }
}

static inline void check_packed(const char *mechanism, uint64_t seed, int64_t longest, fit_fn *fit,
                                int64_t *sequences) {
    attn_case packed, single;
    check_make(&packed, mechanism, seed, FV_F32, longest, fit);
    const int64_t n = packed.x.t[FV_CU_Q].rank ? packed.x.t[FV_CU_Q].dim[0] - 1 : 0;
    if (n && case_run(&packed, RUN_FORWARD | RUN_BACKWARD) != FV_OK)
        check_complain(&packed, "packed", fv_message(), 0, 0);
    for (int64_t i = 0; i < n; i++, ++*sequences) {
        check_cut_out(&single, &packed, i);
        if (case_run(&single, RUN_FORWARD | RUN_BACKWARD) != FV_OK)
            check_complain(&single, "one by one", fv_message(), 0, 0);
        const fv_operand operands[] = {FV_OUT, FV_LSE, FV_Q, FV_K, FV_V, FV_LOG_DECAY, FV_BETA};
        for (int k = 0; k < 7; k++) {
            const int32_t *cu =
                (k >= 3 && k <= 4 && packed.x.t[FV_CU_K].rank ? packed.x.t[FV_CU_K] : packed.x.t[FV_CU_Q]).data;
            const fv_tensor *whole = k < 2 ? &packed.x.t[operands[k]] : &packed.x.d[operands[k]];
            const fv_tensor *own = k < 2 ? &single.x.t[operands[k]] : &single.x.d[operands[k]];
            if (!own->rank) continue;
            const fv_tensor part = fv_tensor_slice(*whole, 2, cu[i], cu[i + 1] - cu[i]);
            if (!same_bytes(&part, own))
                check_complain(&packed, "one by one", fv_operand_name(operands[k]), (double)i, 0);
        }
        for (int gradient = 0; gradient < 2; gradient++) {
            const fv_tensor *whole = gradient ? &packed.x.d[FV_STATE] : &packed.x.t[FV_STATE_OUT];
            const fv_tensor *own = gradient ? &single.x.d[FV_STATE] : &single.x.t[FV_STATE_OUT];
            if (!own->rank) continue;
            const fv_tensor part = fv_tensor_slice(*whole, 0, i, 1);
            if (!same_bytes(&part, own)) check_complain(&packed, "one by one", "state", (double)i, gradient);
        }
        case_free(&single);
    }
    case_free(&packed);
}

#endif
