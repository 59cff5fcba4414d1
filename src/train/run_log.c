/* The run folder: the lock, metrics.jsonl (one object an event), train.log (the same as text with the time of day) and
 * eval.json (the best judgement). */
#include "io/json.h"
#include "train/train.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* A run folder may come from anywhere. None of the names that a run writes may be a link, which leads out of it, or a
 * pipe, at which one waits. */
static fv_status check_names(const char *folder) {
    static const char *const names[] = {"lock",        "metrics.jsonl",      "train.log",         "eval.json",
                                        "config.json", "tokenizer.json",     "model.safetensors", "config.yaml",
                                        "command.txt", "last/a.safetensors", "last/b.safetensors"};
    char *path;
    FV_TRY(fv__path_join(&path, folder, "last"));
    fv_status status =
        fv__path_is_link(path)
            ? fv__fail(FV_FAIL, "%s: cannot be used\n  expected a folder of the run itself\n  found:   a link", path)
            : FV_OK;
    fv__free(path);
    for (size_t i = 0; status == FV_OK && i < sizeof names / sizeof *names; i++) {
        FV_TRY(fv__path_join(&path, folder, names[i]));
        status = fv__check_own_file(path);
        fv__free(path);
    }
    return status;
}

fv_status fv__run_log_open(fv__run_log *run_log, const char *folder) {
    char *lock = NULL, *last = NULL;
    *run_log = (fv__run_log){.folder = folder, .lock = {-1, -1}};
    if (!folder) return FV_OK;
    FV_TRY(check_names(folder));
    fv_status status = fv__path_join(&last, folder, "last");
    if (status == FV_OK) status = fv__make_dirs(last);
    if (status == FV_OK) status = fv__path_join(&lock, folder, "lock");
    if (status == FV_OK) status = fv__lock(&run_log->lock, lock);
    if (status == FV_OK) status = fv__path_join(&run_log->metrics, folder, "metrics.jsonl");
    if (status == FV_OK) status = fv__path_join(&run_log->log, folder, "train.log");
    fv__free(lock);
    fv__free(last);
    if (status != FV_OK) fv__run_log_close(run_log);
    return status;
}

void fv__run_log_close(fv__run_log *run_log) {
    fv__unlock(&run_log->lock);
    fv__free(run_log->metrics);
    fv__free(run_log->log);
    *run_log = (fv__run_log){.lock = {-1, -1}};
}

/* ---- lines */

static fv_status fill_step(fv__json *o, const fv_event *e) {
    FV_TRY(fv__json_set(o, "loss", fv__json_of_float(e->loss)));
    FV_TRY(fv__json_set(o, "learning_rate", fv__json_of_float(e->learning_rate)));
    FV_TRY(fv__json_set(o, "gradient_norm", fv__json_of_float(e->gradient_norm)));
    return fv__json_set(o, "tokens_per_second", fv__json_of_float(e->tokens_per_second));
}

static fv_status fill_eval(fv__json *o, const fv_event *e) {
    char key[64];
    for (int i = 0; i < e->valid.count; i++)
        FV_TRY(fv__json_set(o, fv__score_key(key, "valid_", e->valid.score[i].name),
                            fv__json_of_float(e->valid.score[i].value)));
    return fv__json_set(o, "best", fv__json_of_bool(e->best));
}

static fv_status fill_member(fv__json *o, const fv_event *e) {
    char key[64];
    FV_TRY(fv__json_set(o, "member", fv__json_of_text(e->member)));
    if (e->weight >= 0) FV_TRY(fv__json_set(o, "weight", fv__json_of_float(e->weight)));
    FV_TRY(fv__json_set(o, "member_seconds", fv__json_of_float(e->member_seconds)));
    for (int i = 0; i < e->valid.count; i++)
        FV_TRY(fv__json_set(o, fv__score_key(key, "valid_", e->valid.score[i].name),
                            fv__json_of_float(e->valid.score[i].value)));
    return FV_OK;
}

static const char *name_of(fv_event_kind kind) {
    static const char *const names[] = {"start", "train", "eval", "save", "note", "end", "member"};
    return names[kind];
}

static fv_status fill(fv__json *o, const fv_event *e) {
    FV_TRY(fv__json_set(o, "event", fv__json_of_text(name_of(e->kind))));
    FV_TRY(fv__json_set(o, "update", fv__json_of_int(e->step)));
    if (e->kind == FV_EVENT_START) FV_TRY(fv__json_set(o, "total", fv__json_of_int(e->total)));
    FV_TRY(fv__json_set(o, "epoch", fv__json_of_float(e->epoch)));
    FV_TRY(fv__json_set(o, "seconds", fv__json_of_float(e->seconds)));
    if (e->kind == FV_EVENT_STEP) return fill_step(o, e);
    if (e->kind == FV_EVENT_EVAL) return fill_eval(o, e);
    if (e->kind == FV_EVENT_MEMBER) return fill_member(o, e);
    return e->note ? fv__json_set(o, "note", fv__json_of_text(e->note)) : FV_OK;
}

static fv_status write_metrics(const fv__run_log *run_log, const fv_event *e) {
    fv__json *o = fv__json_object();
    fv__buf line = {0};
    fv_status status = o ? fill(o, e) : FV_NO_RESOURCES;
    if (status == FV_OK) status = fv__json_dump(o, FV_JSON_LINE, &line);
    if (status == FV_OK) status = fv__append_line(run_log->metrics, line.data);
    fv__buf_free(&line);
    fv__json_free(o);
    return status;
}

static fv_status write_log(const fv__run_log *run_log, const fv_event *e) {
    fv__buf line = {0};
    char clock[32];
    time_t now = time(NULL);
    struct tm parts;
    strftime(clock, sizeof clock, "%Y-%m-%d %H:%M:%S", localtime_r(&now, &parts));
    fv__buf_printf(&line, "%s  %-5s  update %lld/%lld", clock, name_of(e->kind), (long long)e->step,
                   (long long)e->total);
    if (e->kind == FV_EVENT_STEP)
        fv__buf_printf(&line, "  loss %.4f  lr %.3g  gnorm %.3f  %.0f tok/s", e->loss, e->learning_rate,
                       e->gradient_norm, e->tokens_per_second);
    if (e->kind == FV_EVENT_MEMBER) fv__buf_printf(&line, "  %s", e->member);
    for (int i = 0; i < e->valid.count; i++)
        fv__buf_printf(&line, "  %s %.4f", e->valid.score[i].name, e->valid.score[i].value);
    if (e->kind == FV_EVENT_EVAL && e->best) fv__buf_text(&line, "  best so far");
    if (e->kind == FV_EVENT_MEMBER && e->weight >= 0) fv__buf_printf(&line, "  weight %.3f", e->weight);
    if (e->note) fv__buf_printf(&line, "  %s", e->note);
    fv_status status = fv__buf_status(&line);
    if (status == FV_OK) status = fv__append_line(run_log->log, line.data);
    fv__buf_free(&line);
    return status;
}

fv_status fv__run_log_write(fv__run_log *run_log, const fv_event *event) {
    if (!run_log->folder) return FV_OK;
    FV_TRY(write_metrics(run_log, event));
    return write_log(run_log, event);
}

/* ---- going back */

fv_status fv__run_log_size(const fv__run_log *run_log, int64_t *bytes) {
    fv__file file;
    *bytes = 0;
    if (!run_log->folder || !fv__path_exists(run_log->metrics)) return FV_OK;
    FV_TRY(fv__file_read(&file, run_log->metrics));
    *bytes = (int64_t)file.size;
    fv__file_free(&file);
    return FV_OK;
}

fv_status fv__run_log_cut(const fv__run_log *run_log, int64_t bytes) {
    fv__file file;
    if (!run_log->folder || !fv__path_exists(run_log->metrics)) return FV_OK;
    FV_TRY(fv__file_read(&file, run_log->metrics));
    fv_status status = FV_OK;
    if ((int64_t)file.size > bytes) status = fv__write_file(run_log->metrics, file.data, (size_t)bytes);
    fv__file_free(&file);
    return status;
}

/* ---- eval.json */

fv_status fv__run_log_evaluation(const fv__run_log *run_log, const fv_model *model, const fv_evaluation *evaluation,
                                 int64_t update) {
    char *path;
    if (!run_log->folder) return FV_OK;
    FV_TRY(fv__path_join(&path, run_log->folder, "eval.json"));
    fv__json *o = fv__json_object();
    fv_status status = o ? fv__json_set(o, "part", fv__json_of_text("validation")) : FV_NO_RESOURCES;
    if (status == FV_OK) status = fv__json_set(o, "update", fv__json_of_int(update));
    if (status == FV_OK) status = fv__evaluation_fill(o, evaluation, model);
    if (status == FV_OK) status = fv__json_save(o, path);
    fv__json_free(o);
    fv__free(path);
    return status;
}
