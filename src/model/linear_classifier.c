/* linear: TF-IDF of words and pairs of words, and multinomial logistic regression with an L2 penalty, fitted to the
 * minimum by L-BFGS; for numbers ridge regression. The baseline every other network should be held against.
 *
 * Objective, over n texts:  mean loss + |W|^2 / (2 c n).  The bias is not penalised. The loss is the cross-entropy of
 * the class, or half the square of what the standardised number is missed by. */
#include "model/features.h"
#include "model/network.h"
#include "optim/lbfgs.h"

#include <math.h>
#include <string.h>

/* Variables are laid out feature by feature, (features + 1, classes), the last row being the bias: a text then reads
 * whole rows. */
typedef struct problem {
    const fv__counts *x, *by_column;
    const fv_dataset *train;
    const fv__target *target;
    int64_t texts, features, classes; /* classes: columns of the outputs, one for a number */
    double penalty;
    const double *w;
    double *g;
    double *residual; /* (texts, classes) probability - target, over n */
    double *loss;     /* (texts) */
} problem;

enum { TEXTS = 64, FEATURES = 512 }; /* one piece of work */
static int64_t pieces(int64_t count, int64_t size) { return (count + size - 1) / size; }

static void class_residual(problem *p, int64_t t, double *z, int32_t label) {
    int64_t classes = p->classes;
    double most = -INFINITY, sum = 0;
    for (int64_t c = 0; c < classes; c++) most = fmax(most, z[c]);
    double target = z[label];
    for (int64_t c = 0; c < classes; c++) sum += z[c] = exp(z[c] - most);
    p->loss[t] = log(sum) + most - target;
    for (int64_t c = 0; c < classes; c++) z[c] = (z[c] / sum - (c == label)) / (double)p->texts;
}

static void number_residual(problem *p, int64_t t, double *z) {
    double missed = *z - (p->train->number[t] - p->target->mean) / p->target->scale;
    p->loss[t] = missed * missed / 2;
    *z = missed / (double)p->texts;
}

static void text_residual(problem *p, int64_t t) {
    int64_t classes = p->classes;
    double *z = p->residual + t * classes;
    memcpy(z, p->w + p->features * classes, (size_t)classes * sizeof *z);
    for (int64_t i = p->x->start[t]; i < p->x->start[t + 1]; i++) {
        const double *w = p->w + p->x->column[i] * classes;
        double value = p->x->value[i];
        for (int64_t c = 0; c < classes; c++) z[c] += value * w[c];
    }
    if (p->target->type == FV_TARGET_REAL)
        number_residual(p, t, z);
    else
        class_residual(p, t, z, p->train->label[t]);
}

static void texts_residual(void *context, int64_t piece, int worker) {
    problem *p = context;
    (void)worker;
    for (int64_t t = piece * TEXTS; t < (piece + 1) * TEXTS && t < p->texts; t++) text_residual(p, t);
}

static void features_gradient(void *context, int64_t piece, int worker) {
    problem *p = context;
    int64_t classes = p->classes;
    (void)worker;
    for (int64_t f = piece * FEATURES; f < (piece + 1) * FEATURES && f < p->features; f++) {
        double *g = p->g + f * classes;
        const double *w = p->w + f * classes;
        for (int64_t c = 0; c < classes; c++) g[c] = p->penalty * w[c];
        for (int64_t i = p->by_column->start[f]; i < p->by_column->start[f + 1]; i++) {
            const double *r = p->residual + p->by_column->column[i] * classes;
            double value = p->by_column->value[i];
            for (int64_t c = 0; c < classes; c++) g[c] += value * r[c];
        }
    }
}

static double objective(void *context, double *gradient, const double *w) {
    problem *p = context;
    p->w = w, p->g = gradient;
    fv__parallel_for(pieces(p->texts, TEXTS), texts_residual, p);
    fv__parallel_for(pieces(p->features, FEATURES), features_gradient, p);
    double *bias = gradient + p->features * p->classes, value = 0, square = 0;
    memset(bias, 0, (size_t)p->classes * sizeof *bias);
    for (int64_t t = 0; t < p->texts; t++) {
        value += p->loss[t];
        for (int64_t c = 0; c < p->classes; c++) bias[c] += p->residual[t * p->classes + c];
    }
    for (int64_t i = 0; i < p->features * p->classes; i++) square += w[i] * w[i];
    return value / (double)p->texts + p->penalty * square / 2;
}

/* of: the feature each column of the problem is. */
static void keep(fv_model *model, const double *w, const int32_t *of, int64_t columns) {
    float *weight = fv_params_get(model->params, FV__WEIGHT).value.data;
    float *bias = fv_params_get(model->params, FV__BIAS).value.data;
    int64_t outputs = model->sizes.outputs, features = fv__feature_count(model);
    for (int64_t c = 0; c < outputs; c++) {
        for (int64_t k = 0; k < columns; k++) weight[c * features + of[k]] = (float)w[k * outputs + c];
        bias[c] = (float)w[columns * outputs + c];
    }
}

/* Most buckets of letters are empty or rare; what is not used takes no part. */
static void number_columns(fv__counts *x, const fv_model *model, int32_t *of) {
    const float *scale = fv_params_get(model->params, FV__SCALE).value.data;
    int32_t *column = of + x->columns, columns = 0;
    bool all = !fv__letter_buckets(model);
    for (int64_t f = 0; f < x->columns; f++) {
        column[f] = columns;
        of[columns] = (int32_t)f;
        columns += all || scale[f] > 0;
    }
    if (all) return;
    int64_t to = 0, from = 0;
    for (int64_t row = 0; row < x->rows; row++) {
        for (; from < x->start[row + 1]; from++)
            if (scale[x->column[from]] > 0) {
                x->column[to] = column[x->column[from]];
                x->value[to++] = x->value[from];
            }
        x->start[row + 1] = to;
    }
    x->columns = columns;
}

static fv_status minimize(fv_model *model, const fv__counts *x, const int32_t *of, const fv_dataset *train) {
    fv__counts by_column = {0};
    int64_t features = x->columns, classes = model->sizes.outputs, variables = (features + 1) * classes;
    double *memory = fv__alloc_array((size_t)(variables + x->rows * (classes + 1)), sizeof *memory);
    if (!memory) return FV_NO_RESOURCES;
    problem p = {.x = x,
                 .by_column = &by_column,
                 .train = train,
                 .target = &model->target,
                 .texts = x->rows,
                 .features = features,
                 .classes = classes,
                 .penalty = 1 / (model->options.c * (double)x->rows),
                 .residual = memory + variables,
                 .loss = memory + variables + x->rows * classes};
    fv__lbfgs how = {.n = variables, .history = 6, .max_rounds = 300, .tolerance = model->options.tolerance};
    int rounds = 0;
    fv_status status = fv__counts_transpose(&by_column, x);
    if (status == FV_OK) status = fv__lbfgs_minimize(&how, memory, objective, &p, &rounds);
    if (status == FV_OK) keep(model, memory, of, features);
    if (status == FV_OK)
        fv__log(FV_LOG_DEBUG, "linear: %lld features, %d rounds of L-BFGS", (long long)features, rounds);
    fv__counts_free(&by_column);
    fv__free(memory);
    return status;
}

static fv_status learn(fv_model *model, fv__counts *x, const fv_dataset *train) {
    int32_t *of = fv__alloc_array((size_t)x->columns + 1, 2 * sizeof *of);
    if (!of) return FV_NO_RESOURCES;
    number_columns(x, model, of);
    fv_status status = minimize(model, x, of, train);
    fv__free(of);
    return status;
}

static fv_status weigh(fv_model *model, fv__counts *x) {
    fv__counts by_column = {0};
    float *scale = fv_params_get(model->params, FV__SCALE).value.data;
    FV_TRY(fv__counts_transpose(&by_column, x));
    fv__features_scale(scale, &by_column, x->rows, model->options.min_texts, true);
    fv__features_weigh(x, scale);
    fv__counts_free(&by_column);
    return FV_OK;
}

/* A round of L-BFGS walks over a number for every text and class, and for every feature and class. With few classes
 * that is as long as the file; with thousands it is as long as the file times itself. */
static fv_status check_work(const fv_model *model, int64_t texts) {
    const double numbers = (double)(texts + fv__feature_count(model)) * (double)model->sizes.outputs;
    if (model->sizes.outputs <= 1000 || numbers <= 0x1p28) return FV_OK;
    return fv__fail(FV_NO_RESOURCES,
                    "model linear: too many classes to fit\n  expected at most 1000, or 2^28 numbers\n"
                    "  found:   %lld classes of %lld texts and %lld features\n  try:     --model bayes, or --model bag",
                    (long long)model->sizes.outputs, (long long)texts, (long long)fv__feature_count(model));
}

static fv_status fit(fv_model *model, const fv_dataset *train) {
    fv__counts x = {0};
    FV_TRY(fv__features_learn(model, train->texts));
    FV_TRY(check_work(model, train->texts.count));
    FV_TRY(fv__count_based_make(model));
    fv_status status = fv__features_count(&x, model, train->texts);
    if (status == FV_OK) fv__features_warn(model, &x);
    if (status == FV_OK) status = weigh(model, &x);
    if (status == FV_OK) status = learn(model, &x, train);
    fv__counts_free(&x);
    return status;
}

static const fv_option options[] = {
    FV__ROW("c", FV_OPT_FLOAT, c, "200", 1e-6, 1e9, NULL, "inverse strength of the L2 penalty"),
    FV__FLAGGED_ROW("tolerance", FV_OPT_FLOAT, tolerance, "1e-05", 1e-12, 1, NULL,
                    "largest slope of the objective at which fitting ends", FV_OPTION_LOCAL),
    FV__ROW_WORD_NGRAMS("2"),
    FV__ROW_MIN_TEXTS("2"),
    FV__ROW_SUBLINEAR("true"),
    FV__ROWS_NGRAMS("0"),
    {0},
};

const fv__kind fv__kind_linear = {
    .info = {"linear", "TF-IDF of words and pairs, multinomial logistic regression",
             "Joachims, ECML 1998; Genkin et al. 2007", FV_MODEL_FITS_CLASSES | FV_MODEL_FITS_NUMBERS, options},
    .check = fv__check_ngrams,
    .make = fv__count_based_make,
    .fit = fit,
};
