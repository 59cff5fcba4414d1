/* Options of training, and the setup that joins them with those of model and tokenizer. */
#include "train/train.h"

#include <string.h>

#define ROW(name, type, field, standard, lo, hi, choices, help) \
    { name, type, offsetof(fv_train_options, field), standard, lo, hi, choices, help, .flags = FV_OPTION_BY_GRADIENT }
#define FLAGGED(flag, name, type, field, standard, lo, hi, choices, help)               \
    {                                                                                   \
        name, type, offsetof(fv_train_options, field), standard, lo, hi, choices, help, \
            .flags = FV_OPTION_##flag | FV_OPTION_BY_GRADIENT                           \
    }
#define NUMBERS FV_OPT_FLOAT
/* "|adamw|sgd": the choices begin at the second character */
static const char optimizers[] =
#define OPTIMIZER(id) "|" #id
#include "optim/list.def"
#undef OPTIMIZER
    ;
static const fv_option rows[] = {
    ROW("epochs", NUMBERS, epochs, "10", 0.001, 1e6, NULL, "passes over the training texts"),
    ROW("until", FV_OPT_STRING, until, NULL, 0, 0, "DURATION",
        "replaces epochs: 3e, 20Ku (updates), 5Mt (tokens), 90m"),
    FLAGGED(FIXED, "batch-size", FV_OPT_INT, batch_size, "32", 1, 1 << 20, NULL, "texts in a batch"),
    FLAGGED(FIXED, "max-tokens", FV_OPT_INT, max_tokens, "0", 0, 1 << 30, NULL,
            "at most so many tokens in a batch; 0: no limit"),
    FLAGGED(FIXED, "bucket", FV_OPT_INT, bucket, "16", 1, 1 << 20, NULL, "batches that are sorted by length together"),
    FLAGGED(FIXED, "gradient-accumulation", FV_OPT_INT, gradient_accumulation, "1", 1, 1 << 20, NULL,
            "batches an update"),
    ROW("learning-rate", NUMBERS, learning_rate, "0.001", 0, 1e6, NULL, "highest learning rate"),
    ROW("embedding-lr-multiplier", NUMBERS, embedding_lr_multiplier, "1", 0, 1e6, NULL,
        "learning rate of embedding tables, times learning-rate"),
    ROW("schedule", FV_OPT_CHOICE, schedule, "linear", 0, 0, "constant|linear|cosine|inverse-sqrt",
        "of the rate after the warmup"),
    ROW("warmup", NUMBERS, warmup, "0.06", 0, 1, NULL, "share of all updates in which the rate climbs"),
    FLAGGED(FIXED, "optimizer", FV_OPT_CHOICE, optimizer, "adamw", 0, 0, &optimizers[1],
            "what a step down the gradient is"),
    ROW("weight-decay", NUMBERS, weight_decay, "0.01", 0, 1e3, NULL, "of matrices; decoupled in AdamW"),
    ROW("beta1", NUMBERS, beta1, "0.9", 0, 0.999999, NULL, "AdamW: memory of the gradient"),
    ROW("beta2", NUMBERS, beta2, "0.999", 0, 0.9999999, NULL, "AdamW: memory of its square"),
    ROW("epsilon", NUMBERS, epsilon, "1e-08", 1e-30, 1, NULL, "AdamW: added to the root of the square"),
    ROW("momentum", NUMBERS, momentum, "0", 0, 0.999999, NULL, "SGD: memory of the step"),
    ROW("nesterov", FV_OPT_BOOL, nesterov, "false", 0, 0, NULL, "SGD: look ahead by the momentum"),
    ROW("max-grad-norm", NUMBERS, max_grad_norm, "1", 0, 1e9, NULL, "longest gradient; 0: no limit"),
    FLAGGED(FIXED, "ema-decay", NUMBERS, ema_decay, "0", 0, 0.999999, NULL,
            "memory of the mean of the weights that is kept; 0: the last weights"),
    ROW("early-stopping", FV_OPT_INT, early_stopping, "0", 0, 1 << 20, NULL,
        "stop after so many evaluations without a better one; 0: never"),
    FLAGGED(HARMLESS, "log-every", FV_OPT_STRING, log_every, "50u", 0, 0, "DURATION", "progress line"),
    ROW("eval-every", FV_OPT_STRING, eval_every, "1e", 0, 0, "DURATION", "judge the validation texts"),
    FLAGGED(HARMLESS, "save-every", FV_OPT_STRING, save_every, "1e", 0, 0, "DURATION", "checkpoint"),
    {"seed", FV_OPT_INT, offsetof(fv_train_options, seed), "1", 0, 9e15, NULL, "of everything random",
     .flags = FV_OPTION_FIXED},
    {0},
};

const fv_option *fv_train_option_rows(void) { return rows; }

/* ---- durations */

static double multiple(char c) { return c == 'K' || c == 'k' ? 1e3 : c == 'M' ? 1e6 : c == 'G' ? 1e9 : 0; }

static fv_status bad_duration(const char *name, const char *text) {
    return fv__fail(FV_USAGE,
                    "%s: not a duration\n  expected a number above zero and a unit: 3e (epochs), 500u or 20Ku "
                    "(updates), 5Mt (tokens), 90s 15m 2h (time)\n  found:   \"%s\"",
                    name, text);
}

fv_status fv__duration_parse(fv__duration *span, const char *name, const char *text) {
    char number[32];
    size_t length = strlen(text);
    char unit = length ? text[length - 1] : 0;
    static const char letters[] = "eutsmh";
    static const fv__unit units[] = {FV_UNIT_EPOCHS,  FV_UNIT_UPDATES, FV_UNIT_TOKENS,
                                     FV_UNIT_SECONDS, FV_UNIT_SECONDS, FV_UNIT_SECONDS};
    const char *found = unit ? strchr(letters, unit) : NULL;
    double scale = unit == 'm' ? 60 : unit == 'h' ? 3600 : 1;
    span->unit = found ? units[found - letters] : FV_UNIT_UPDATES;
    if (found) length--;
    if (length > 0 && multiple(text[length - 1]) > 0) scale *= multiple(text[--length]);
    if (length == 0 || length >= sizeof number) return bad_duration(name, text);
    memcpy(number, text, length);
    number[length] = 0;
    if (!fv__parse_float(number, &span->amount) || !(span->amount > 0)) return bad_duration(name, text);
    span->amount *= scale;
    return span->amount <= 1e15 ? FV_OK : bad_duration(name, text);
}

/* ---- optimizer and schedule */

/* Zero in the options of training is zero; in those of an optimizer it is the default. */
static double exactly(double value) { return value == 0 ? -1 : value; }

fv_status fv__optimizer_of(fv_optimizer **optimizer, const fv_model *model, const fv_train_options *how) {
    fv_optimizer_options o = {.optimizer = how->optimizer,
                              .embedding_lr_multiplier = exactly(how->embedding_lr_multiplier),
                              .weight_decay = how->weight_decay,
                              .beta1 = exactly(how->beta1),
                              .beta2 = exactly(how->beta2),
                              .epsilon = how->epsilon,
                              .momentum = how->momentum,
                              .nesterov = how->nesterov,
                              .ema_decay = how->ema_decay};
    return fv_optimizer_create(optimizer, model->params, &o);
}

double fv__schedule(const fv_train_options *how, double done) {
    fv_schedule schedule = {.warmup = how->warmup, .total = 1};
    return fv_schedule_find(&schedule.kind, how->schedule) == FV_OK ? fv_schedule_at(&schedule, done) : 0;
}

/* ---- the setup */

fv_status fv_train_setup_init(fv_train_setup *setup, const char *kind) {
    memset(setup, 0, sizeof *setup);
    FV_TRY(fv_model_options_init(&setup->model, kind));
    fv_options_init(fv_tokenizer_option_rows(), &setup->tokenizer);
    FV_TRY(fv_task_options_init(&setup->task, fv_task_at(0)->name));
    fv_options_init(rows, &setup->train);
    return FV_OK;
}

static fv_status check_duration(const char *name, const char *text) {
    fv__duration unused;
    return fv__duration_parse(&unused, name, text ? text : "");
}

static fv_status check_budget(const char *text) {
    fv__duration budget;
    if (fv__duration_parse(&budget, "budget", text) == FV_OK && budget.unit == FV_UNIT_SECONDS) return FV_OK;
    return fv__fail(FV_USAGE,
                    "budget: not a time\n  expected a number above zero and a unit: 90s, 5m, 1h\n  found:   \"%s\"",
                    text);
}

fv_status fv_train_setup_check(const fv_train_setup *setup) {
    const fv_train_options *how = &setup->train;
    FV_TRY(fv_model_options_check(&setup->model));
    FV_TRY(fv__task_options_check(&setup->task, setup->model.kind));
    for (const fv_option *row = rows; row->name; row++) FV_TRY(fv__option_check(row, how));
    if (how->until) FV_TRY(check_duration("until", how->until));
    if (setup->model.budget) FV_TRY(check_budget(setup->model.budget));
    FV_TRY(check_duration("log-every", how->log_every));
    FV_TRY(check_duration("eval-every", how->eval_every));
    return check_duration("save-every", how->save_every);
}

enum { TABLES = 4 };

static fv_status unknown(const fv_option *const *tables, const char *name) {
    const char *names[128] = {NULL};
    size_t count = 0;
    for (int t = 0; t < TABLES; t++)
        for (const fv_option *row = tables[t]; row->name && count < 127; row++) names[count++] = row->name;
    return fv__unknown_name("option", name, names);
}

fv_status fv_train_setup_set(fv_train_setup *setup, const char *name, const char *value) {
    const fv_model_kind *kind = fv_model_kind_find(setup->model.kind);
    const fv_task *task = fv_task_find(setup->task.task);
    const fv_option *tables[TABLES] = {kind->options, fv_tokenizer_option_rows(), task->options, rows};
    void *const structs[TABLES] = {&setup->model, &setup->tokenizer, &setup->task, &setup->train};
    if (strcmp(name, "task") == 0) return fv_task_options_init(&setup->task, value);
    for (int t = 0; t < TABLES; t++)
        if (fv_option_find(tables[t], name)) return fv_options_set(tables[t], structs[t], name, value);
    return unknown(tables, name);
}

/* A setting is "name=value" in memory that stays, so the value may be kept by pointer. */
static fv_status apply(fv_train_setup *setup, const char *setting) {
    const char *equals = strchr(setting, '=');
    char name[64];
    size_t length = equals ? (size_t)(equals - setting) : sizeof name;
    if (length >= sizeof name)
        return fv__fail(FV_USAGE, "not a setting\n  expected name=value\n  found:   \"%s\"", setting);
    memcpy(name, setting, length);
    name[length] = 0;
    return fv_train_setup_set(setup, name, equals + 1);
}

fv_status fv_train_setup_preset(fv_train_setup *setup, const char *preset) {
    const fv_preset *found = fv_preset_find(preset);
    const char *names[32] = {NULL};
    for (size_t i = 0; i < fv_preset_count() && i < 31; i++) names[i] = fv_preset_at(i)->name;
    if (!found) return fv__unknown_name("preset", preset, names);
    FV_TRY(fv_train_setup_init(setup, found->kind));
    for (const char *const *setting = found->settings; *setting; setting++) FV_TRY(apply(setup, *setting));
    return FV_OK;
}
