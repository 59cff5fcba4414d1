/* What a training says while it runs: one line that is redrawn, lines that stay for evaluations, JSON on request. */
#include "train_command.h"
#include "console.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* 1234567 -> "1,234,567" */
static const char *grouped(int64_t value, char *text, size_t size) {
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%" PRId64, value);
    size_t at = 0;
    for (int i = 0; i < n && at + 2 < size; i++) {
        if (i && (n - i) % 3 == 0 && digits[i - 1] != '-') text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = 0;
    return text;
}

static void rate(double value, char *text, size_t size) {
    if (value >= 1e6)
        snprintf(text, size, "  %.2fM tok/s", value / 1e6);
    else if (value >= 1e3)
        snprintf(text, size, "  %.1fk tok/s", value / 1e3);
    else
        snprintf(text, size, "  %.0f tok/s", value);
}

/* On a narrow terminal the parts that matter least are left out; the last is what one waits for. */
static void step(const fv_event *e) {
    static const int drop[] = {3, 2, 4, 1};
    char part[6][64] = {"", "", "", "", "", "  eta --:--"}, done[32], total[32], eta[32], line[320];
    grouped(e->step, done, sizeof done);
    if (e->total > 0)
        snprintf(part[0], sizeof part[0], "/%s  %.0f%%", grouped(e->total, total, sizeof total),
                 100.0 * (double)e->step / (double)e->total);
    snprintf(part[1], sizeof part[1], "  loss %.3f", e->loss);
    snprintf(part[2], sizeof part[2], "  lr %.1e", e->learning_rate);
    snprintf(part[3], sizeof part[3], "  gnorm %.2f", e->gradient_norm);
    rate(e->tokens_per_second, part[4], sizeof part[4]);
    cli_duration(e->eta, eta, sizeof eta);
    if (e->eta >= 0) snprintf(part[5], sizeof part[5], "  eta %s", eta);
    for (int i = 0;; i++) {
        int n = snprintf(line, sizeof line, "train  step %s%s%s%s%s%s%s", done, part[0], part[1], part[2], part[3],
                         part[4], part[5]);
        if (n <= cli_progress_room() || i == 4) break;
        part[drop[i]][0] = 0;
    }
    cli_progress(line, true);
}

static void scores(const fv_event *e, char *line, size_t size) {
    size_t used = 0;
    *line = 0;
    for (int i = 0; i < e->valid.count && used < size; i++)
        used +=
            (size_t)snprintf(line + used, size - used, "  %s %.3f", e->valid.score[i].name, e->valid.score[i].value);
}

static void eval(const fv_event *e) {
    char done[32], line[320];
    grouped(e->step, done, sizeof done);
    scores(e, line, sizeof line);
    cli_say("eval   step %s%s%s", done, line, e->best ? "  best so far" : "");
}

/* A member of the model auto. Its weight stands in the table of results. */
static void member(const fv_event *e) {
    char line[320];
    if (e->weight >= 0) return;
    scores(e, line, sizeof line);
    cli_progress_end();
    cli_say("try    %-9s%s  in %.1f s", e->member, line, e->member_seconds);
}

/* "macro-f1" -> "macro_f1" */
static const char *key_of(const char *name, char *key, size_t size) {
    snprintf(key, size, "%s", name);
    for (char *at = key; *at; at++)
        if (*at == '-') *at = '_';
    return key;
}

static void eval_json(const fv_event *e, char *text, size_t size) {
    char key[64];
    size_t used = (size_t)snprintf(text, size, "{\"event\": \"eval\", \"step\": %" PRId64, e->step);
    for (int i = 0; i < e->valid.count && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, ", \"%s\": %.6f",
                                 key_of(e->valid.score[i].name, key, sizeof key), e->valid.score[i].value);
    if (used < size) snprintf(text + used, size - used, ", \"best\": %s}", e->best ? "true" : "false");
}

static void json(const fv_event *e) {
    char text[512];
    if (e->kind == FV_EVENT_STEP)
        snprintf(text, sizeof text,
                 "{\"event\": \"train\", \"step\": %" PRId64 ", \"total\": %" PRId64
                 ", \"epoch\": %.3f, \"loss\": %.6f, \"learning_rate\": %.6g, "
                 "\"gradient_norm\": %.6f, \"tokens_per_second\": %.1f, \"seconds\": %.3f, \"eta\": %.1f}",
                 e->step, e->total, e->epoch, e->loss, e->learning_rate, e->gradient_norm, e->tokens_per_second,
                 e->seconds, e->eta);
    else
        eval_json(e, text, sizeof text);
    cli_progress_json(text, true);
}

void cli_train_event(void *context, const fv_event *e) {
    (void)context;
    bool figures = e->kind == FV_EVENT_STEP || e->kind == FV_EVENT_EVAL;
    if (figures && cli_progress_wants_json())
        json(e);
    else if (e->kind == FV_EVENT_STEP)
        step(e);
    else if (e->kind == FV_EVENT_EVAL)
        eval(e);
    else if (e->kind == FV_EVENT_MEMBER)
        member(e);
    else if (e->kind == FV_EVENT_NOTE && e->note)
        cli_say("note   %s", e->note);
    else if (e->kind == FV_EVENT_END)
        cli_progress_end();
}
