/* Learning rates over time, as shares of the highest. */
#include "base/base.h"
#include "fovea/optim.h"

#include <math.h>
#include <string.h>

/* rest: what is done of the time after the warmup, 0 to 1 */
static double constant(const fv_schedule *s, double done, double rest) {
    (void)s, (void)done, (void)rest;
    return 1;
}

static double linear(const fv_schedule *s, double done, double rest) {
    (void)s, (void)done;
    return 1 - rest;
}

static double cosine(const fv_schedule *s, double done, double rest) {
    (void)s, (void)done;
    return 0.5 * (1 + cos(3.14159265358979323846 * rest));
}

static double inverse_sqrt(const fv_schedule *s, double done, double rest) {
    (void)rest;
    return s->warmup > 0 ? sqrt(s->warmup / done) : 1;
}

static const struct {
    const char *name;
    double (*at)(const fv_schedule *s, double done, double rest);
} kinds[FV_SCHEDULES] = {
    [FV_SCHEDULE_CONSTANT] = {"constant", constant},
    [FV_SCHEDULE_LINEAR] = {"linear", linear},
    [FV_SCHEDULE_COSINE] = {"cosine", cosine},
    [FV_SCHEDULE_INVERSE_SQRT] = {"inverse-sqrt", inverse_sqrt},
};

double fv_schedule_at(const fv_schedule *s, double done) {
    double total = s->total > 0 ? s->total : 1;
    if (done < s->warmup) return done / s->warmup;
    double rest = s->warmup < total ? (done - s->warmup) / (total - s->warmup) : 1;
    return (unsigned)s->kind < FV_SCHEDULES ? kinds[s->kind].at(s, done, rest > 1 ? 1 : rest) : 1;
}

const char *fv_schedule_name(fv_schedule_kind kind) { return (unsigned)kind < FV_SCHEDULES ? kinds[kind].name : NULL; }

fv_status fv_schedule_find(fv_schedule_kind *kind, const char *name) {
    const char *names[FV_SCHEDULES + 1] = {NULL};
    for (int i = 0; i < FV_SCHEDULES; i++) {
        if (strcmp(kinds[i].name, name) == 0) return *kind = (fv_schedule_kind)i, FV_OK;
        names[i] = kinds[i].name;
    }
    return fv__unknown_name("schedule", name, names);
}
