/* The table of optimizers, and what zero means in their options. */
#include "base/base.h"
#include "optim/optimizer.h"

#include <math.h>
#include <string.h>

static const fv__optimizer_kind *const kinds[] = {
#define OPTIMIZER(id) &fv__optimizer_##id,
#include "optim/list.def"
#undef OPTIMIZER
};
enum { KINDS = sizeof kinds / sizeof *kinds };

size_t fv_optimizer_kind_count(void) { return KINDS; }
const fv_optimizer_kind *fv_optimizer_kind_at(size_t index) { return index < KINDS ? &kinds[index]->info : NULL; }

const fv_optimizer_kind *fv_optimizer_kind_find(const char *name) {
    for (size_t i = 0; i < KINDS; i++)
        if (strcmp(kinds[i]->info.name, name) == 0) return &kinds[i]->info;
    return NULL;
}

/* ---- options */

/* Those that all optimizers read. */
static const fv_option common[] = {
    FV__OPTIMIZER_ROW(FLOAT, learning_rate, "learning-rate", "0.001", 0, 1e6, "highest learning rate"),
    FV__OPTIMIZER_ROW(FLOAT, embedding_lr_multiplier, "embedding-lr-multiplier", "1", 0, 1e6, "of embedding tables"),
    FV__OPTIMIZER_ROW(FLOAT, weight_decay, "weight-decay", "0", 0, 1e3, "of matrices"),
    FV__OPTIMIZER_ROW(FLOAT, ema_decay, "ema-decay", "0", 0, 0.999999, "memory of the mean of the weights"),
    {0},
};

static fv_status complete_rows(const fv_option *rows, fv_optimizer_options *options) {
    for (; rows->name; rows++) {
        double *field = (double *)(void *)((char *)options + rows->offset);
        if (rows->type != FV_OPT_FLOAT) continue;
        double standard = 0;
        fv__parse_float(rows->standard, &standard);
        if (*field == 0)
            *field = standard;
        else if (*field < 0 && standard > 0 && isfinite(*field))
            *field = 0;
        FV_TRY(fv__option_check(rows, options));
    }
    return FV_OK;
}

static fv_status find(const char *name, const fv__optimizer_kind **kind) {
    const char *names[KINDS + 1] = {NULL};
    for (size_t i = 0; i < KINDS; i++) {
        *kind = kinds[i];
        names[i] = kinds[i]->info.name;
        if (strcmp(names[i], name) == 0) return FV_OK;
    }
    return fv__unknown_name("optimizer", name, names);
}

fv_status fv__optimizer_complete(fv_optimizer_options *options, const fv__optimizer_kind **kind) {
    FV_TRY(find(options->optimizer ? options->optimizer : kinds[0]->info.name, kind));
    options->optimizer = (*kind)->info.name;
    FV_TRY(complete_rows(common, options));
    return complete_rows((*kind)->info.rows, options);
}
