/* classify: one of several classes for a text. Trained by cross-entropy, judged by accuracy, F1 and loss; an undefined
 * ratio is 0. */
#include "task/contract.h"

#include <math.h>
#include <string.h>

/* ---- learning */

static bool same_classes(fv_classes a, fv_classes b) {
    if (a.count != b.count) return false;
    for (int32_t c = 0; c < a.count; c++)
        if (strcmp(a.name[c], b.name[c]) != 0) return false;
    return true;
}

static fv_status check(const fv_dataset *train, const fv_dataset *valid) {
    if (!train->label || train->texts.count == 0)
        return fv__fail(FV_BAD_DATA, "nothing to learn from\n  expected texts with labels\n  found:   none");
    int64_t i = 1;
    while (i < train->texts.count && train->label[i] == train->label[0]) i++;
    if (i == train->texts.count)
        return fv__fail(
            FV_BAD_DATA,
            "nothing to learn from\n  expected at least two classes\n  found:   \"%s\" for all %lld training texts",
            train->classes.name[train->label[0]], (long long)train->texts.count);
    if (!valid || (valid->label && same_classes(valid->classes, train->classes))) return FV_OK;
    return fv__fail(FV_BAD_DATA, "validation\n  expected the classes of the training texts\n  found:   others");
}

static void prepare(fv__target *target, const fv_dataset *train) {
    target->type = FV_TARGET_CLASS;
    target->classes = train->classes;
    target->outputs = train->classes.count;
}

static fv_node *loss(fv__run *run, const fv_batch *batch, fv_node *output, const fv_task_options *options,
                     double *weight) {
    fv_targets targets = {.labels = batch->label, .label_smoothing = options->label_smoothing};
    *weight = batch->rows;
    return fv_op_cross_entropy(run->graph, output, &targets);
}

/* ---- metrics */

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

static fv_status check_labels(const int32_t *label, int64_t count, int32_t classes) {
    for (int64_t i = 0; i < count; i++)
        if (label[i] < 0 || label[i] >= classes)
            return fv__fail(FV_BAD_DATA, "metrics: label of text %lld\n  expected 0 to %d\n  found:   %d", (long long)i,
                            (int)classes - 1, (int)label[i]);
    return FV_OK;
}

fv_status fv_metrics_of(fv_metrics **out, const int32_t *label, const float *probability, int64_t count,
                        int32_t classes) {
    *out = NULL;
    if (count < 1 || classes < 1)
        return fv__fail(FV_BAD_DATA, "nothing to evaluate\n  expected texts with labels\n  found:   none");
    FV_TRY(check_labels(label, count, classes));
    fv_metrics *m = metrics_new(classes);
    if (!m) return FV_NO_RESOURCES;
    int64_t *support = (int64_t *)m->support, *confusion = (int64_t *)m->confusion;
    double sum = 0;
    m->count = count;
    for (int64_t i = 0; i < count; i++) {
        const float *p = probability + i * classes;
        int32_t best = 0;
        for (int32_t c = 1; c < classes; c++)
            if (p[c] > p[best]) best = c;
        support[label[i]]++;
        confusion[(int64_t)label[i] * classes + best]++;
        sum -= log(fmax(p[label[i]], 1e-30));
    }
    m->loss = sum / (double)count;
    summarize(m);
    *out = m;
    return FV_OK;
}

void fv_metrics_free(fv_metrics *metrics) { fv__free(metrics); }

static fv_status evaluate(fv_evaluation *e, const fv_model *model, const fv_encoded *encoded, const float *answer) {
    fv_metrics *m;
    if (!encoded->label)
        return fv__fail(FV_BAD_DATA, "nothing to evaluate\n  expected texts with labels\n  found:   none");
    FV_TRY(fv_metrics_of(&m, encoded->label, answer, e->count, model->target.outputs));
    e->metrics = m;
    e->scores.score[0].value = m->accuracy;
    e->scores.score[1].value = m->macro_f1;
    e->scores.score[2].value = m->loss;
    return FV_OK;
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

static fv_status details(fv__json *o, const fv_evaluation *e, const fv_model *model) {
    const fv_metrics *m = e->metrics;
    fv_classes classes = model->target.classes;
    fv__json *names = fv__json_array();
    FV_TRY(fv__json_set(o, "classes", names));
    for (int32_t c = 0; c < classes.count; c++) FV_TRY(fv__json_push(names, fv__json_of_text(classes.name[c])));
    fv__json *by_class = fv__json_object();
    FV_TRY(fv__json_set(o, "by_class", by_class));
    for (int32_t c = 0; c < m->classes; c++) FV_TRY(write_class(by_class, m, classes.name[c], c));
    fv__json *confusion = fv__json_array();
    FV_TRY(fv__json_set(o, "confusion", confusion));
    return write_confusion(confusion, m);
}

/* ---- answers: the most probable classes */

typedef struct ranking {
    fv_classes classes;
    const float *probability;
    int32_t *order;
    int32_t count;
} ranking;

/* Best first; equal ones in the order of the classes. k is small, so selection is enough. */
static void rank(ranking *a, const fv_answer_options *o) {
    int32_t want = o->top_k < a->classes.count ? (int32_t)o->top_k : a->classes.count;
    for (int32_t i = 0; i < a->classes.count; i++) a->order[i] = i;
    for (int32_t i = 0; i < want; i++) {
        int32_t best = i;
        for (int32_t k = i + 1; k < a->classes.count; k++)
            if (a->probability[a->order[k]] > a->probability[a->order[best]] ||
                (a->probability[a->order[k]] == a->probability[a->order[best]] && a->order[k] < a->order[best]))
                best = k;
        int32_t swap = a->order[i];
        a->order[i] = a->order[best];
        a->order[best] = swap;
        if (a->probability[a->order[i]] < (float)o->threshold) break;
        ++a->count;
    }
}

static void write_plain(fv__buf *line, const ranking *a, const char *between, bool probabilities) {
    for (int32_t i = 0; i < a->count; i++) {
        if (i) fv__buf_text(line, between);
        fv__answer_text(line, a->classes.name[a->order[i]]);
        if (!probabilities) continue;
        fv__buf_printf(line, "%s%.6f", *between == '\t' ? "\t" : " ", (double)a->probability[a->order[i]]);
    }
}

static void write_csv(fv__buf *line, const ranking *a, bool probabilities) {
    for (int32_t i = 0; i < a->count; i++) {
        const char *name = a->classes.name[a->order[i]];
        fv__buf_text(line, i ? ",\"" : "\"");
        for (size_t length; *name; name += length) {
            length = strcspn(name, "\"\t\n\r");
            fv__buf_shown(line, name, length);
            if (!name[length]) break;
            fv__buf_add(line, name[length] == '"' ? "\"\"" : name + length, name[length] == '"' ? 2 : 1);
            length++;
        }
        fv__buf_text(line, "\"");
        if (probabilities) fv__buf_printf(line, ",%.6f", (double)a->probability[a->order[i]]);
    }
}

static void write_json(fv__buf *line, const ranking *a) {
    fv__buf_text(line, "{\"labels\": [");
    for (int32_t i = 0; i < a->count; i++) {
        const char *name = a->classes.name[a->order[i]];
        fv__buf_text(line, i ? ", {\"label\": " : "{\"label\": ");
        fv__json_quote(line, name, strlen(name), FV_JSON_LINE);
        fv__buf_printf(line, ", \"probability\": %.6f}", (double)a->probability[a->order[i]]);
    }
    fv__buf_text(line, "]}");
}

static fv_status answer(fv__buf *line, const fv_model *model, const float *probability, const fv_answer_options *o) {
    ranking a = {model->target.classes, probability, NULL, 0};
    if (!(a.order = fv__alloc_array((size_t)a.classes.count, sizeof *a.order))) return FV_NO_RESOURCES;
    rank(&a, o);
    if (strcmp(o->format, "json") == 0)
        write_json(line, &a);
    else if (strcmp(o->format, "csv") == 0)
        write_csv(line, &a, o->probabilities);
    else
        write_plain(line, &a, strcmp(o->format, "tsv") == 0 ? "\t" : "  ", o->probabilities);
    fv__free(a.order);
    return FV_OK;
}

static void explain(fv__outcome *outcome, const fv_trace *trace) { outcome->names = trace->model->target.classes; }

/* ---- the task */

static const fv_option options[] = {
    {"label-smoothing", FV_OPT_FLOAT, offsetof(fv_task_options, label_smoothing), "0", 0, 0.99, NULL,
     "share of the target spread over all classes", .flags = FV_OPTION_BY_GRADIENT},
    FV__TASK_ROW_METRIC("accuracy|macro-f1|loss", "accuracy"),
    {0},
};
static const fv_score scores[] = {{"accuracy", 0, true}, {"macro-f1", 0, true}, {"loss", 0, false}, {0}};

const fv__task fv__task_classify = {
    .info = {"classify", "one of several classes for a text", "a file of labelled texts", FV_TARGET_CLASS,
             FV_MODEL_BY_GRADIENT | FV_MODEL_FITS_CLASSES, options, scores, NULL},
    .tie = "loss",
    .check = check,
    .prepare = prepare,
    .loss = loss,
    .evaluate = evaluate,
    .blend = fv__blend_classes,
    .details = details,
    .answer = answer,
    .explain = explain,
};
