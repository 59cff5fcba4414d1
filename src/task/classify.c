/* classify: one of several classes for a text. Trained by cross-entropy, counted by accuracy, F1 and loss; an undefined
 * ratio is 0. */
#include "task/contract.h"

#include <math.h>
#include <stdlib.h>
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
typedef struct counted {
    fv_metrics open;           /* first: what the caller sees */
    int64_t *hits, *predicted; /* (classes) */
    fv__map *pairs;            /* (label, predicted) -> texts */
} counted;

static fv_status metrics_new(counted **out, int32_t classes) {
    size_t n = (size_t)classes, cells = classes <= FV_CONFUSION_CLASSES ? n * n : 0;
    counted *m = *out = fv__alloc(sizeof *m + n * 3 * sizeof(double) + (3 * n + cells) * sizeof(int64_t));
    if (!m) return FV_NO_RESOURCES;
    double *ratio = (double *)(m + 1);
    int64_t *counts = (int64_t *)(ratio + 3 * n);
    m->open.classes = classes;
    m->open.precision = ratio, m->open.recall = ratio + n, m->open.f1 = ratio + 2 * n;
    m->open.support = counts, m->hits = counts + n, m->predicted = counts + 2 * n;
    m->open.confusion = cells ? counts + 3 * n : NULL;
    return fv__map_create(&m->pairs);
}

static double ratio(double a, double b) { return b > 0 ? a / b : 0; }

static void summarize(const counted *j, fv_metrics *m) {
    double *precision = (double *)m->precision, *recall = (double *)m->recall, *f1 = (double *)m->f1;
    int64_t right = 0, occurring = 0;
    double sum = 0;
    for (int32_t c = 0; c < m->classes; c++) {
        const int64_t predicted = j->predicted[c], hits = j->hits[c];
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

static int most_confused_first(const void *a, const void *b) {
    const fv_confused *x = a, *y = b;
    if (x->count != y->count) return x->count < y->count ? 1 : -1;
    if (x->label != y->label) return x->label < y->label ? -1 : 1;
    return (x->predicted > y->predicted) - (x->predicted < y->predicted);
}

static fv_status list_confused(counted *m) {
    const size_t count = fv__map_size(m->pairs);
    fv_confused *list = fv__alloc_array(count, sizeof *list);
    if (!list) return FV_NO_RESOURCES;
    for (size_t i = 0; i < count; i++) {
        int32_t pair[2];
        memcpy(pair, fv__map_key(m->pairs, i, NULL), sizeof pair);
        list[i] = (fv_confused){pair[0], pair[1], fv__map_value(m->pairs, i)};
    }
    qsort(list, count, sizeof *list, most_confused_first);
    m->open.confused = list, m->open.confusions = (int64_t)count;
    return FV_OK;
}

static int32_t best_of(const float *p, int32_t classes) {
    int32_t best = 0;
    for (int32_t c = 1; c < classes; c++)
        if (p[c] > p[best]) best = c;
    return best;
}

static fv_status count_text(counted *m, int32_t label, int32_t best) {
    const int32_t pair[2] = {label, best};
    ((int64_t *)m->open.support)[label]++;
    m->predicted[best]++;
    m->hits[best] += label == best;
    if (m->open.confusion) ((int64_t *)m->open.confusion)[(int64_t)label * m->open.classes + best]++;
    return label == best ? FV_OK : fv__map_add(m->pairs, (const char *)pair, sizeof pair, 1);
}

static fv_status count_texts(counted *m, const int32_t *label, const float *probability, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        const float *p = probability + i * m->open.classes;
        FV_TRY(count_text(m, label[i], best_of(p, m->open.classes)));
        sum -= log(fmax(p[label[i]], 1e-30));
    }
    m->open.count = count;
    m->open.loss = sum / (double)count;
    summarize(m, &m->open);
    return list_confused(m);
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
    counted *m;
    fv_status status = metrics_new(&m, classes);
    if (status == FV_OK) status = count_texts(m, label, probability, count);
    if (status == FV_OK)
        *out = &m->open;
    else if (m)
        fv_metrics_free(&m->open);
    return status;
}

void fv_metrics_free(fv_metrics *metrics) {
    counted *m = (counted *)metrics;
    if (!m) return;
    fv__free((void *)(uintptr_t)m->open.confused);
    fv__map_free(m->pairs);
    fv__free(m);
}

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

static fv_status write_confused(fv__json *into, const fv_confused *c, fv_classes classes) {
    fv__json *o = fv__json_object();
    FV_TRY(fv__json_push(into, o));
    FV_TRY(fv__json_set(o, "label", fv__json_of_text(classes.name[c->label])));
    FV_TRY(fv__json_set(o, "predicted", fv__json_of_text(classes.name[c->predicted])));
    return fv__json_set(o, "count", fv__json_of_int(c->count));
}

/* The table where there is one, else the list. */
static fv_status write_confusion(fv__json *into, const fv_metrics *m, fv_classes names) {
    for (int64_t i = 0; !m->confusion && i < m->confusions; i++) FV_TRY(write_confused(into, &m->confused[i], names));
    if (!m->confusion) return FV_OK;
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
    FV_TRY(fv__json_set(o, m->confusion ? "confusion" : "confused", confusion));
    return write_confusion(confusion, m, classes);
}

/* ---- answers: the most probable classes */

typedef struct ranking {
    fv_classes classes;
    const float *probability;
    int32_t *order;
    int32_t count;
} ranking;

/* Best first; equal ones in the order of the classes: a heap whose top is the least of those that are kept. */
static bool is_worse(const ranking *a, int32_t x, int32_t y) {
    const float p = a->probability[x], q = a->probability[y];
    return p < q || (p == q && x > y);
}

static void sink(const ranking *a, int32_t count, int32_t at) {
    for (int32_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && is_worse(a, a->order[child + 1], a->order[child])) child++;
        if (!is_worse(a, a->order[child], a->order[at])) return;
        const int32_t swap = a->order[at];
        a->order[at] = a->order[child], a->order[child] = swap;
    }
}

static void rank(ranking *a, const fv_answer_options *o) {
    const int32_t all = a->classes.count, want = o->top_k < all ? (int32_t)o->top_k : all;
    for (int32_t i = 0; i < want; i++) a->order[i] = i;
    for (int32_t i = want / 2; i-- > 0;) sink(a, want, i);
    for (int32_t c = want; c < all; c++)
        if (is_worse(a, a->order[0], c)) a->order[0] = c, sink(a, want, 0);
    for (int32_t left = want - 1; left > 0; left--) {
        const int32_t least = a->order[0];
        a->order[0] = a->order[left], a->order[left] = least;
        sink(a, left, 0);
    }
    while (a->count < want) { /* a class below the threshold is the first that is left out */
        if (a->probability[a->order[a->count]] < (float)o->threshold) break;
        a->count++;
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
