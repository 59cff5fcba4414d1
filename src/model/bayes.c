/* bayes: complement naive Bayes. Every class is described by the words of all the other classes, which evens out
 * classes of different size (Rennie, Shih, Teevan and Karger, "Tackling the Poor Assumptions of Naive Bayes", ICML
 * 2003). */
#include "model/features.h"

#include <math.h>

/* total[c][f]: how much of feature f the texts of class c hold. */
static void sum_by_class(double *total, const fv__counts *x, const int32_t *label) {
    for (int64_t row = 0; row < x->rows; row++) {
        double *mine = total + label[row] * x->columns;
        for (int64_t i = x->start[row]; i < x->start[row + 1]; i++) mine[x->column[i]] += x->value[i];
    }
}

/* weight = -log(share of feature f among the words of the other classes), smoothed by alpha. */
static void weigh_complement(float *weight, const double *total, const double *all, const float *scale,
                             int64_t features, double alpha) {
    double sum = 0;
    for (int64_t f = 0; f < features; f++)
        if (scale[f] > 0) sum += all[f] - total[f] + alpha;
    for (int64_t f = 0; f < features; f++)
        weight[f] = scale[f] > 0 ? (float)(log(sum) - log(all[f] - total[f] + alpha)) : 0;
}

static fv_status learn(fv_model *model, fv__counts *x, const fv__counts *by_column, const int32_t *label) {
    int64_t features = fv__feature_count(model);
    float *scale = fv_params_get(model->params, FV__SCALE).value.data;
    float *weight = fv_params_get(model->params, FV__WEIGHT).value.data;
    double *total = fv__alloc_array((size_t)features * (size_t)(model->sizes.outputs + 1), sizeof *total);
    if (!total) return FV_NO_RESOURCES;
    double *all = total + features * model->sizes.outputs;
    fv__features_scale(scale, by_column, x->rows, model->options.min_texts, true);
    fv__features_weigh(x, scale);
    sum_by_class(total, x, label);
    for (int32_t c = 0; c < model->sizes.outputs; c++)
        for (int64_t f = 0; f < features; f++) all[f] += total[c * features + f];
    for (int32_t c = 0; c < model->sizes.outputs; c++)
        weigh_complement(weight + c * features, total + c * features, all, scale, features, model->options.alpha);
    fv__free(total);
    return FV_OK;
}

static fv_status fit(fv_model *model, const fv_dataset *train) {
    fv__counts x = {0}, by_column = {0};
    FV_TRY(fv__features_learn(model, train->texts));
    FV_TRY(fv__count_based_make(model));
    fv_status status = fv__features_count(&x, model, train->texts);
    if (status == FV_OK) fv__features_warn(model, &x);
    if (status == FV_OK) status = fv__counts_transpose(&by_column, &x);
    if (status == FV_OK) status = learn(model, &x, &by_column, train->label);
    fv__counts_free(&x);
    fv__counts_free(&by_column);
    return status;
}

static const fv_option options[] = {
    FV__ROW("alpha", FV_OPT_FLOAT, alpha, "0.1", 1e-6, 1e6, NULL, "pseudo-count of every word in every class"),
    FV__ROW_WORD_NGRAMS("2"),
    FV__ROW_MIN_TEXTS("1"),
    FV__ROW_SUBLINEAR("false"),
    {0},
};

const fv__kind fv__kind_bayes = {
    .info = {"bayes", "complement naive Bayes on weighted words and pairs",
             "Rennie, Shih, Teevan and Karger, ICML 2003", FV_MODEL_FITS_CLASSES, options},
    .make = fv__count_based_make,
    .fit = fit,
};
