/* fovea bench train: tokens a second while a transformer classifier learns, on made-up texts of equal length. */
#include "bench.h"
#include "console.h"
#include "flags.h"
#include "fovea/train.h"
#include "output.h"
#include "problem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Words w0 .. w4095; the class is the parity of the first, so there is something to learn. */
static fv_status make_texts(const cli_bench_options *o, fv_dataset **set) {
    static const char *const names[] = {"even", "odd"};
    int64_t count = o->batch_size * o->updates, capacity = o->length * 6 + 1;
    char *bytes = cli_alloc((size_t)(count * capacity));
    const char **text = cli_alloc((size_t)count * sizeof *text);
    size_t *size = cli_alloc((size_t)count * sizeof *size);
    int32_t *label = cli_alloc((size_t)count * sizeof *label);
    cli_random r = {1};
    for (int64_t i = 0; i < count; i++) {
        char *at = bytes + i * capacity;
        text[i] = at;
        for (int64_t k = 0; k < o->length; k++) {
            int64_t word = cli_random_below(&r, 4096);
            if (k == 0) label[i] = (int32_t)(word % 2);
            at += sprintf(at, k ? " w%d" : "w%d", (int)word);
        }
        size[i] = (size_t)(at - text[i]);
    }
    fv_status status = fv_dataset_of(set, (fv_texts){count, text, size}, label, (fv_classes){2, names});
    cli_free(bytes);
    cli_free(text);
    cli_free(size);
    cli_free(label);
    return status;
}

/* Steps after the tenth: memory is in place and caches are warm. */
typedef struct meter {
    double start, end;
    int64_t first, last;
} meter;

static void on_event(void *context, const fv_event *e) {
    meter *m = context;
    if (e->kind != FV_EVENT_STEP) return;
    if (e->step <= 10) m->start = cli_now(), m->first = e->step;
    m->end = cli_now();
    m->last = e->step;
}

static fv_status set_all(const cli_bench_options *o, fv_train_setup *setup, char numbers[5][32]) {
    const struct {
        const char *name;
        int64_t value;
    } each[] = {{"width", o->width},
                {"heads", o->heads},
                {"layers", o->layers},
                {"batch-size", o->batch_size},
                {"max-length", o->length}};
    fv_status status = fv_train_setup_init(setup, "transformer");
    for (int i = 0; i < 5 && status == FV_OK; i++) {
        snprintf(numbers[i], 32, "%lld", (long long)each[i].value);
        status = fv_train_setup_set(setup, each[i].name, numbers[i]);
    }
    if (status == FV_OK) status = fv_train_setup_set(setup, "epochs", "1");
    if (status == FV_OK) status = fv_train_setup_set(setup, "log-every", "1u");
    if (status == FV_OK) status = fv_train_setup_set(setup, "min-count", "1");
    return status;
}

fv_status cli_bench_train(const cli_bench_options *o) {
    static const char *const columns[] = {"model", "threads", "updates", "tokens/update", "ms/update", "tokens/s"};
    fv_train_setup setup;
    fv_train_result result = {0};
    fv_dataset *set = NULL;
    fv_model *model = NULL;
    char numbers[5][32], name[96];
    meter m = {0};
    fv_set_threads(atoi(o->threads));
    fv_status status = set_all(o, &setup, numbers);
    if (status == FV_OK) status = make_texts(o, &set);
    setup.event = on_event;
    setup.event_context = &m;
    if (status == FV_OK) status = fv_train(&model, &result, set, NULL, &setup);
    if (status == FV_OK && m.last <= m.first)
        status = cli_fail(FV_USAGE, "--updates: too few to time\n  expected 20 or more\n  found:   %lld",
                          (long long)o->updates);
    if (status == FV_OK) {
        cli_table *table = cli_table_new(columns, 6);
        double tokens = (double)result.tokens / (double)result.updates,
               seconds = (m.end - m.start) / (double)(m.last - m.first);
        snprintf(name, sizeof name, "transformer d%lld h%lld %lld layers L%lld B%lld", (long long)o->width,
                 (long long)o->heads, (long long)o->layers, (long long)o->length, (long long)o->batch_size);
        cli_table_text(table, name);
        cli_table_number(table, fv_threads(), 0);
        cli_table_number(table, (double)(m.last - m.first), 0);
        cli_table_number(table, tokens, 0);
        cli_table_number(table, 1e3 * seconds, 2);
        cli_table_number(table, tokens / seconds, 0);
        cli_table_print(table, cli_format_of(o->output), stdout);
        cli_table_free(table);
    }
    fv_model_free(model);
    fv_dataset_free(set);
    return status;
}
