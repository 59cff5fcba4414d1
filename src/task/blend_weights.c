/* Weights of a blend of classifiers: those of least mean cross-entropy of softmax(sum of weight * log probability),
 * none below zero. The problem is convex and small, one number for each member, so Newton's steps solve it.
 *
 * First each member alone: its best single weight says how sure of itself it should have been. In units of these the
 * weights are drawn a little towards equal shares, so that few texts, or texts that all members get right, decide
 * sensibly. */
#include "task/contract.h"

#include <math.h>
#include <string.h>

enum { ROUNDS = 100 };

typedef struct problem {
    const int32_t *wanted;
    const float *const *answer;
    const double *unit; /* (members) */
    int64_t count;
    int32_t outputs;
    int members;
    double prior, pull; /* pulled towards `prior` by `pull` / 2 times the square of the distance */
    double *score;      /* (outputs) scratch */
} problem;

typedef struct point {
    double w[FV__MEMBERS], g[FV__MEMBERS], h[FV__MEMBERS][FV__MEMBERS];
    double value;
} point;

static double log_answer(const problem *p, int m, int64_t text, int32_t c) {
    return p->unit[m] * log(fmax((double)p->answer[m][text * p->outputs + c], 1e-30));
}

/* Probabilities of one text in p->score; returns its cross-entropy. */
static double softmax_of(const problem *p, const point *at, int64_t text) {
    double most = -INFINITY, sum = 0;
    for (int32_t c = 0; c < p->outputs; c++) {
        p->score[c] = 0;
        for (int m = 0; m < p->members; m++)
            if (at->w[m] > 0) p->score[c] += at->w[m] * log_answer(p, m, text, c);
        most = fmax(most, p->score[c]);
    }
    for (int32_t c = 0; c < p->outputs; c++) sum += exp(p->score[c] - most);
    double loss = most + log(sum) - p->score[p->wanted[text]];
    for (int32_t c = 0; c < p->outputs; c++) p->score[c] = exp(p->score[c] - most) / sum;
    return loss;
}

/* Adds the gradient and the Hessian of one text: mean and covariance of the members' scores under the probabilities. */
static void add_slopes(const problem *p, point *at, int64_t text) {
    double mean[FV__MEMBERS] = {0}, both[FV__MEMBERS][FV__MEMBERS] = {{0}}, value[FV__MEMBERS];
    for (int32_t c = 0; c < p->outputs; c++) {
        if (p->score[c] < 1e-12) continue;
        for (int m = 0; m < p->members; m++) value[m] = log_answer(p, m, text, c);
        for (int m = 0; m < p->members; m++) {
            mean[m] += p->score[c] * value[m];
            for (int k = 0; k <= m; k++) both[m][k] += p->score[c] * value[m] * value[k];
        }
    }
    for (int m = 0; m < p->members; m++) {
        at->g[m] += (mean[m] - log_answer(p, m, text, p->wanted[text])) / (double)p->count;
        for (int k = 0; k <= m; k++) at->h[m][k] += (both[m][k] - mean[m] * mean[k]) / (double)p->count;
    }
}

static void evaluate(const problem *p, point *at, bool slopes) {
    at->value = 0;
    memset(at->g, 0, sizeof at->g);
    memset(at->h, 0, sizeof at->h);
    for (int64_t t = 0; t < p->count; t++) {
        at->value += softmax_of(p, at, t) / (double)p->count;
        if (slopes) add_slopes(p, at, t);
    }
    for (int m = 0; m < p->members; m++) {
        double away = at->w[m] - p->prior;
        at->value += p->pull / 2 * away * away;
        at->g[m] += p->pull * away;
        at->h[m][m] += p->pull;
        for (int k = 0; k < m; k++) at->h[k][m] = at->h[m][k];
    }
}

/* Newton's step for the weights that are free: Gauss elimination of a positive definite matrix. */
static void find_step(const problem *p, const point *at, const bool *freed, double *step) {
    double a[FV__MEMBERS][FV__MEMBERS];
    int n = p->members;
    for (int i = 0; i < n; i++) {
        step[i] = freed[i] ? -at->g[i] : 0;
        for (int k = 0; k < n; k++) a[i][k] = i == k ? at->h[i][i] + 1e-9 : freed[i] && freed[k] ? at->h[i][k] : 0;
    }
    for (int i = 0; i < n; i++)
        for (int r = i + 1; r < n; r++) {
            double share = a[r][i] / a[i][i];
            for (int k = i; k < n; k++) a[r][k] -= share * a[i][k];
            step[r] -= share * step[i];
        }
    for (int i = n - 1; i >= 0; i--) {
        for (int k = i + 1; k < n; k++) step[i] -= a[i][k] * step[k];
        step[i] /= a[i][i];
    }
}

static void minimize(const problem *p, point *at) {
    bool freed[FV__MEMBERS];
    double step[FV__MEMBERS];
    for (int round = 0; round < ROUNDS; round++) {
        evaluate(p, at, true);
        for (int m = 0; m < p->members; m++) freed[m] = at->w[m] > 0 || at->g[m] < 0;
        find_step(p, at, freed, step);
        point next;
        double share = 1, most = 0;
        do {
            for (int m = 0; m < p->members; m++) next.w[m] = fmin(fmax(at->w[m] + share * step[m], 0), 100);
            evaluate(p, &next, false);
            share /= 2;
        } while (next.value > at->value && share > 1e-6);
        if (!(next.value < at->value)) return;
        for (int m = 0; m < p->members; m++) most = fmax(most, fabs(next.w[m] - at->w[m]));
        memcpy(at->w, next.w, sizeof at->w);
        if (most < 1e-6) return;
    }
}

/* How sure of itself one member should have been. */
static double unit_of(problem p, const float *const *answer) {
    double one = 1;
    point at = {.w = {1}};
    p.answer = answer, p.unit = &one, p.members = 1, p.prior = 1, p.pull = 0.01 / (double)p.count;
    minimize(&p, &at);
    return fmax(at.w[0], 0.05);
}

fv_status fv__blend_classes(double *weight, const fv_encoded *targets, const float *const *answer, int members,
                            int32_t outputs) {
    double unit[FV__MEMBERS];
    point at = {.value = 0};
    problem p = {.wanted = targets->label, .answer = answer, .unit = unit, .count = targets->count, .outputs = outputs};
    if (!targets->label || targets->count < 1) return fv__fail(FV_BAD_DATA, "nothing to judge: no labelled texts");
    if (!(p.score = fv__alloc_array((size_t)outputs, sizeof *p.score))) return FV_NO_RESOURCES;
    for (int m = 0; m < members; m++) unit[m] = unit_of(p, &answer[m]);
    p.members = members, p.prior = 1 / (double)members, p.pull = 1 / (double)p.count;
    for (int m = 0; m < members; m++) at.w[m] = p.prior;
    minimize(&p, &at);
    for (int m = 0; m < members; m++) weight[m] = at.w[m] < 0.02 ? 0 : at.w[m] * unit[m];
    fv__free(p.score);
    return FV_OK;
}
