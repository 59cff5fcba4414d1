/* Metrics: accuracy, F1, precision, recall, confusion, loss. Undefined ratios are 0. */
#include "io/json.h"
#include "train/train.h"

#include <math.h>
#include <string.h>

/* One block of memory: the struct, then its arrays. */
static fv_metrics *metrics_new(int32_t classes) {
    size_t n = (size_t)classes;
    fv_metrics *m = fv__alloc(sizeof *m + n * 3 * sizeof(double) + (n + n * n) * sizeof(int64_t));
    if (!m) return NULL;
    double *ratio = (double *)(m + 1);
    m->classes = classes;
    m->precision = ratio, m->recall = ratio + n, m->f1 = ratio + 2 * n;
    m->support = (int64_t *)(ratio + 3 * n), m->confusion = m->support + n;
    return m;
}

static double ratio(double a, double b) { return b > 0 ? a / b : 0; }

static void summarize(fv_metrics *m) {
    double *precision = (double *)m->precision, *recall = (double *)m->recall, *f1 = (double *)m->f1;
    int64_t right = 0, occurring = 0;
    double sum = 0;
    for (int32_t c = 0; c < m->classes; c++) {
        int64_t predicted = 0, hits = m->confusion[(int64_t)c * m->classes + c];
        for (int32_t k = 0; k < m->classes; k++) predicted += m->confusion[(int64_t)k * m->classes + c];
        precision[c] = ratio((double)hits, (double)predicted);
        recall[c] = ratio((double)hits, (double)m->support[c]);
        f1[c] = ratio(2 * precision[c] * recall[c], precision[c] + recall[c]);
        right += hits;
        occurring += predicted > 0 || m->support[c] > 0;
        sum += f1[c];
    }
    m->accuracy = ratio((double)right, (double)m->count);
    m->macro_f1 = ratio(sum, (double)occurring);
}

fv_status fv_metrics_of(fv_metrics **out, const int32_t *label, const float *probability, int64_t count,
                        int32_t classes) {
    *out = NULL;
    if (count < 1 || classes < 1) return fv__fail(FV_BAD_DATA, "nothing to judge: no labelled texts");
    fv_metrics *m = metrics_new(classes);
    if (!m) return FV_NO_RESOURCES;
    int64_t *support = (int64_t *)m->support, *confusion = (int64_t *)m->confusion;
    double loss = 0;
    m->count = count;
    for (int64_t i = 0; i < count; i++) {
        const float *p = probability + i * classes;
        int32_t best = 0;
        for (int32_t c = 1; c < classes; c++)
            if (p[c] > p[best]) best = c;
        support[label[i]]++;
        confusion[(int64_t)label[i] * classes + best]++;
        loss -= log(fmax(p[label[i]], 1e-30));
    }
    m->loss = loss / (double)count;
    summarize(m);
    *out = m;
    return FV_OK;
}

void fv_metrics_free(fv_metrics *metrics) { fv__free(metrics); }

fv_status fv_metrics_value(const fv_metrics *m, const char *name, double *value) {
    if (strcmp(name, "accuracy") == 0)
        *value = m->accuracy;
    else if (strcmp(name, "macro-f1") == 0)
        *value = m->macro_f1;
    else if (strcmp(name, "loss") == 0)
        *value = m->loss;
    else
        return fv__fail(FV_USAGE, "unknown metric '%s'\n  expected accuracy, macro-f1 or loss", name);
    return FV_OK;
}

/* ---- judging a model */

static int32_t class_of(fv_classes classes, const char *name) {
    for (int32_t c = 0; c < classes.count; c++)
        if (strcmp(classes.name[c], name) == 0) return c;
    return -1;
}

/* Labels of the data as the model numbers them. */
static fv_status translate(int32_t *label, const fv_model *model, const fv_dataset *data) {
    fv_classes known = fv_model_classes(model);
    for (int64_t i = 0; i < data->texts.count; i++) {
        const char *name = data->classes.name[data->label[i]];
        label[i] = class_of(known, name);
        if (label[i] < 0)
            return fv__fail(FV_BAD_DATA,
                            "line %lld: the model does not know the label \"%s\"\n  expected one of its %d classes",
                            data->line ? (long long)data->line[i] : (long long)i + 1, name, (int)known.count);
    }
    return FV_OK;
}

fv_status fv_evaluate(fv_metrics **metrics, const fv_model *model, const fv_dataset *data) {
    int64_t count = data->texts.count;
    int32_t classes = fv_model_classes(model).count;
    *metrics = NULL;
    if (count == 0 || !data->label) return fv__fail(FV_BAD_DATA, "nothing to judge: no labelled texts");
    int32_t *label = fv__alloc_array((size_t)count, sizeof *label);
    float *probability = fv__alloc_array((size_t)count, (size_t)classes * sizeof *probability);
    fv_status status = label && probability ? translate(label, model, data) : FV_NO_RESOURCES;
    if (status == FV_OK) status = fv_model_predict(model, data->texts, probability);
    if (status == FV_OK) status = fv_metrics_of(metrics, label, probability, count, classes);
    fv__free(label);
    fv__free(probability);
    return status;
}

/* ---- as JSON */

static fv_status write_class(fv__json *into, const fv_metrics *m, const char *name, int32_t c) {
    fv__json *o = fv__json_object();
    fv_status status = o ? FV_OK : FV_NO_RESOURCES;
    if (status == FV_OK) status = fv__json_set(o, "precision", fv__json_of_float(m->precision[c]));
    if (status == FV_OK) status = fv__json_set(o, "recall", fv__json_of_float(m->recall[c]));
    if (status == FV_OK) status = fv__json_set(o, "f1", fv__json_of_float(m->f1[c]));
    if (status == FV_OK) status = fv__json_set(o, "support", fv__json_of_int(m->support[c]));
    if (status == FV_OK) return fv__json_set(into, name, o);
    fv__json_free(o);
    return status;
}

static fv_status write_confusion(fv__json *into, const fv_metrics *m) {
    for (int32_t a = 0; a < m->classes; a++) {
        fv__json *row = fv__json_array();
        FV_TRY(fv__json_push(into, row)); /* owned by `into` from here on */
        for (int32_t b = 0; b < m->classes; b++)
            FV_TRY(fv__json_push(row, fv__json_of_int(m->confusion[(int64_t)a * m->classes + b])));
    }
    return FV_OK;
}

static fv_status write_names(fv__json *into, fv_classes classes) {
    for (int32_t c = 0; c < classes.count; c++) FV_TRY(fv__json_push(into, fv__json_of_text(classes.name[c])));
    return FV_OK;
}

fv_status fv__metrics_fill(fv__json *o, const fv_metrics *m, fv_classes classes) {
    FV_TRY(fv__json_set(o, "count", fv__json_of_int(m->count)));
    FV_TRY(fv__json_set(o, "accuracy", fv__json_of_float(m->accuracy)));
    FV_TRY(fv__json_set(o, "macro_f1", fv__json_of_float(m->macro_f1)));
    FV_TRY(fv__json_set(o, "loss", fv__json_of_float(m->loss)));
    fv__json *names = fv__json_array();
    FV_TRY(fv__json_set(o, "classes", names));
    FV_TRY(write_names(names, classes));
    fv__json *by_class = fv__json_object();
    FV_TRY(fv__json_set(o, "by_class", by_class));
    for (int32_t c = 0; c < m->classes; c++) FV_TRY(write_class(by_class, m, classes.name[c], c));
    fv__json *confusion = fv__json_array();
    FV_TRY(fv__json_set(o, "confusion", confusion));
    return write_confusion(confusion, m);
}

fv_status fv_metrics_json(const fv_metrics *metrics, fv_classes classes, char **json) {
    fv__json *o = fv__json_object();
    fv__buf text = {0};
    *json = NULL;
    fv_status status = o ? fv__metrics_fill(o, metrics, classes) : FV_NO_RESOURCES;
    if (status == FV_OK) status = fv__json_dump(o, FV_JSON_PRETTY, &text);
    if (status == FV_OK && !(*json = fv__strdup(text.data))) status = FV_NO_RESOURCES;
    fv__buf_free(&text);
    fv__json_free(o);
    return status;
}
