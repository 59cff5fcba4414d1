/* L-BFGS, see lbfgs.h. All sums run over fixed blocks in order: the same bits for any number of threads. */
#include "optim/lbfgs.h"

#include <math.h>
#include <string.h>

typedef struct solver {
    const fv__lbfgs *how;
    fv__objective *f;
    void *context;
    double *x, *g, *next_x, *next_g, *direction;
    double *s, *y;       /* (history, n) steps and changes of the gradient, a ring */
    double *rho, *alpha; /* (history) */
    int pairs, newest;
    double value;
} solver;

/* ---- vectors */

static double dot(const double *a, const double *b, int64_t n) {
    double lane[8] = {0}, sum = 0; /* eight sums that the compiler may keep in one register */
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++) lane[k] += a[i + k] * b[i + k];
    for (; i < n; i++) lane[0] += a[i] * b[i];
    for (int k = 0; k < 8; k++) sum += lane[k];
    return sum;
}

static void add_scaled(double *y, double a, const double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] += a * x[i];
}

static double largest(const double *x, int64_t n) {
    double most = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(x[i]));
    return most;
}

/* ---- direction: the two loops */

static void find_direction(solver *s) {
    int64_t n = s->how->n;
    int history = s->how->history;
    double *d = s->direction;
    for (int64_t i = 0; i < n; i++) d[i] = -s->g[i];
    for (int back = 0; back < s->pairs; back++) {
        int k = (s->newest - back + history) % history;
        s->alpha[k] = s->rho[k] * dot(s->s + k * n, d, n);
        add_scaled(d, -s->alpha[k], s->y + k * n, n);
    }
    if (s->pairs > 0) {
        const double *y = s->y + s->newest * n;
        double gamma = 1 / (s->rho[s->newest] * dot(y, y, n));
        for (int64_t i = 0; i < n; i++) d[i] *= gamma;
    }
    for (int back = s->pairs - 1; back >= 0; back--) {
        int k = (s->newest - back + history) % history;
        double beta = s->rho[k] * dot(s->y + k * n, d, n);
        add_scaled(d, s->alpha[k] - beta, s->s + k * n, n);
    }
}

static void remember(solver *s) {
    int64_t n = s->how->n;
    int k = s->pairs ? (s->newest + 1) % s->how->history : 0;
    double *step = s->s + k * n, *change = s->y + k * n;
    for (int64_t i = 0; i < n; i++) {
        step[i] = s->next_x[i] - s->x[i];
        change[i] = s->next_g[i] - s->g[i];
    }
    double curvature = dot(step, change, n);
    if (curvature <= 1e-12 * dot(change, change, n)) return; /* would spoil the approximation */
    s->rho[k] = 1 / curvature;
    s->newest = k;
    if (s->pairs < s->how->history) s->pairs++;
}

/* ---- line search */

typedef struct point {
    double at, value, slope;
} point;

static point try_step(solver *s, double at) {
    int64_t n = s->how->n;
    for (int64_t i = 0; i < n; i++) s->next_x[i] = s->x[i] + at * s->direction[i];
    double value = s->f(s->context, s->next_g, s->next_x);
    return (point){at, value, dot(s->next_g, s->direction, n)};
}

/* Minimum of the cubic through two points and their slopes, kept well inside. */
static double between(point a, point b) {
    double d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.at - b.at);
    double under = d1 * d1 - a.slope * b.slope;
    double low = fmin(a.at, b.at), high = fmax(a.at, b.at), width = high - low, at = (low + high) / 2;
    if (under >= 0) {
        double d2 = copysign(sqrt(under), b.at - a.at);
        double cubic = b.at - (b.at - a.at) * (b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2);
        if (isfinite(cubic)) at = cubic;
    }
    return fmin(fmax(at, low + 0.1 * width), high - 0.1 * width);
}

/* Leaves the accepted point in next_x, next_g. False when no step improves. */
static bool line_search(solver *s, double first, double *value) {
    const double enough = 1e-4, flat = 0.9;
    point start = {0, s->value, dot(s->g, s->direction, s->how->n)}, low = start, high = {0};
    if (start.slope >= 0) return false;
    bool bracketed = false;
    double at = first;
    for (int tries = 0; tries < 25; tries++) {
        point p = try_step(s, at);
        bool worse = !(p.value <= start.value + enough * p.at * start.slope) || (low.at > 0 && p.value >= low.value);
        if (worse)
            high = p, bracketed = true;
        else if (fabs(p.slope) <= -flat * start.slope) {
            *value = p.value;
            return true;
        } else {
            if (bracketed ? p.slope * (high.at - low.at) >= 0 : p.slope >= 0) high = low, bracketed = true;
            low = p;
        }
        at = bracketed ? between(low, high) : 2 * at;
    }
    if (low.at == 0) return false;
    *value = try_step(s, low.at).value;
    return true;
}

/* ---- the loop */

static fv_status run(solver *s, int *rounds) {
    int64_t n = s->how->n;
    s->value = s->f(s->context, s->g, s->x);
    for (*rounds = 0; *rounds < s->how->max_rounds && largest(s->g, n) > s->how->tolerance; ++*rounds) {
        if (fv_interrupted()) return fv__fail(FV_INTERRUPTED, "interrupted after %d rounds of L-BFGS", *rounds);
        find_direction(s);
        double value, first = s->pairs ? 1 : fmin(1, 1 / sqrt(dot(s->g, s->g, n)));
        if (!line_search(s, first, &value)) {
            if (s->pairs == 0) break;
            s->pairs = 0; /* forget the past and go down the gradient */
            continue;
        }
        remember(s);
        memcpy(s->x, s->next_x, (size_t)n * sizeof *s->x);
        memcpy(s->g, s->next_g, (size_t)n * sizeof *s->g);
        s->value = value;
    }
    return FV_OK;
}

fv_status fv__lbfgs_minimize(const fv__lbfgs *how, double *x, fv__objective *f, void *context, int *rounds) {
    size_t n = (size_t)how->n, m = (size_t)how->history, all;
    if (!fv__mul_ok(n, 4 + 2 * m, &all)) return fv__fail(FV_NO_RESOURCES, "L-BFGS: too many variables");
    double *memory = fv__alloc_array(all + 2 * m, sizeof *memory);
    if (!memory) return FV_NO_RESOURCES;
    solver s = {.how = how, .f = f, .context = context, .x = x};
    s.g = memory, s.next_x = s.g + n, s.next_g = s.next_x + n, s.direction = s.next_g + n;
    s.s = s.direction + n, s.y = s.s + m * n, s.rho = s.y + m * n, s.alpha = s.rho + m;
    fv_status status = run(&s, rounds);
    fv__free(memory);
    return status;
}
