/* The table of tasks, their options, and what all of them have in common. */
#include "task/contract.h"

#include <string.h>

#define TASK(name) extern const fv__task fv__task_##name;
#include "task/list.def"
#undef TASK

static const fv__task *const tasks[] = {
#define TASK(name) &fv__task_##name,
#include "task/list.def"
#undef TASK
};
enum { TASKS = sizeof tasks / sizeof *tasks, ROWS = 64 };

size_t fv_task_count(void) { return TASKS; }

const fv_task *fv_task_at(size_t index) { return index < TASKS ? &tasks[index]->info : NULL; }

const fv_task *fv_task_find(const char *name) {
    for (size_t i = 0; i < TASKS; i++)
        if (name && strcmp(tasks[i]->info.name, name) == 0) return &tasks[i]->info;
    return NULL;
}

const fv_task *fv_task_of(const fv_model *model) { return fv_task_find(model->target.task); }

bool fv_task_trains(const fv_task *task, const fv_model_kind *kind) { return task->networks & kind->can; }

fv_status fv__task_need(const fv__task **task, const fv_model *model) {
    *task = (const fv__task *)fv_task_of(model);
    if (*task && (*task)->info.target == model->target.type) return FV_OK;
    return fv__fail(FV_BAD_MODEL, "the task of the model\n  expected one that fits its targets\n  found:   \"%s\"%s",
                    model->target.task, *task ? ", which has other targets" : ", which this version does not know");
}

/* ---- options */

static fv_status unknown_task(const char *name) {
    const char *names[TASKS + 1] = {NULL};
    for (size_t i = 0; i < TASKS; i++) names[i] = tasks[i]->info.name;
    return fv__unknown_name("task", name, names);
}

fv_status fv_task_options_init(fv_task_options *options, const char *task) {
    const fv_task *found = fv_task_find(task);
    if (!found) return unknown_task(task);
    memset(options, 0, sizeof *options);
    fv_options_init(found->options, options);
    options->task = found->name;
    return FV_OK;
}

/* Kinds the task can train: "linear, bag, attention". */
static void list_networks(fv__buf *list, const fv_task *task) {
    for (size_t k = 0; k < fv_model_kind_count(); k++)
        if (fv_task_trains(task, fv_model_kind_at(k)))
            fv__buf_printf(list, "%s%s", list->size ? ", " : "", fv_model_kind_at(k)->name);
}

static fv_status check_network(const fv_task *task, const char *kind) {
    const fv_model_kind *found = fv_model_kind_find(kind);
    if (!found || fv_task_trains(task, found)) return FV_OK; /* an unknown kind is refused with its own message */
    fv__buf list = {0};
    list_networks(&list, task);
    fv_status status = fv__fail(FV_USAGE, "task %s cannot train this model\n  expected %s%s\n  found:   %s", task->name,
                                list.size ? "one of: " : "none, it makes a file", list.size ? list.data : "", kind);
    fv__buf_free(&list);
    return status;
}

fv_status fv__task_options_check(const fv_task_options *options, const char *kind) {
    const fv_task *task = fv_task_find(options->task);
    if (!task) return unknown_task(options->task);
    for (const fv_option *row = task->options; row->name; row++) FV_TRY(fv__option_check(row, options));
    return check_network(task, kind);
}

/* ---- the options of all tasks as one table, for command lines */

typedef struct table {
    fv_option row[ROWS];
    char choices[ROWS][256]; /* of rows that several tasks have, or "task" */
    size_t count;
} table;

static void add_choice(char *choices, size_t room, const char *word, size_t length) {
    size_t used = strlen(choices);
    for (const char *at = choices; used && at; at = strchr(at, '|')) {
        at += *at == '|';
        if (strcspn(at, "|") == length && memcmp(at, word, length) == 0) return;
    }
    if (used + length + 2 > room) return;
    if (used) choices[used++] = '|';
    memcpy(choices + used, word, length);
    choices[used + length] = 0;
}

static void add_choices(table *t, size_t index, const char *choices) {
    for (const char *at = choices; at; at = strchr(at, '|')) {
        at += *at == '|';
        add_choice(t->choices[index], sizeof t->choices[index], at, strcspn(at, "|"));
    }
    t->row[index].choices = t->choices[index];
}

static void add_row(table *t, const fv_option *row) {
    size_t i = 0;
    while (i < t->count && strcmp(t->row[i].name, row->name) != 0) i++;
    if (i == t->count && t->count + 1 < ROWS)
        t->row[t->count++] = *row;
    else if (i < t->count && row->type == FV_OPT_CHOICE) {
        if (!*t->choices[i]) add_choices(t, i, t->row[i].choices);
        add_choices(t, i, row->choices);
    }
}

const fv_option *fv_task_option_rows(void) {
    static table all;
    if (all.count) return all.row;
    table made = {.count = 1};
    made.row[0] = (fv_option)FV__TASK_ROW("task", FV_OPT_CHOICE, task, tasks[0]->info.name, 0, 0, NULL,
                                          "what is trained: the class of a text, a number for it, or word vectors");
    for (size_t i = 0; i < TASKS; i++) {
        add_choices(&made, 0, tasks[i]->info.name);
        for (const fv_option *row = tasks[i]->info.options; row->name; row++) add_row(&made, row);
    }
    all = made;
    for (size_t i = 0; i < all.count; i++)
        if (*all.choices[i]) all.row[i].choices = all.choices[i];
    return all.row;
}

/* ---- tasks that make a file */

fv_status fv_task_make_file(const fv_task *task, const char *path, fv_texts texts, const void *options, char **what) {
    const fv__task *own = (const fv__task *)task;
    fv__buf said = {0};
    if (what) *what = NULL;
    if (!own->make_file)
        return fv__fail(FV_USAGE, "no file can be made\n  expected a task that makes one\n  found:   %s", task->name);
    fv_status status = own->make_file(path, texts, options, &said);
    if (status == FV_OK) status = fv__buf_status(&said);
    if (status == FV_OK && what && !(*what = fv__strdup(said.data ? said.data : ""))) status = FV_NO_RESOURCES;
    fv__buf_free(&said);
    return status;
}
