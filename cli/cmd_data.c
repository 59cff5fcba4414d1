/* fovea data: real data sets, rebuilt on this machine from public packages. */
#include "command.h"
#include "console.h"
#include "flags.h"
#include "fovea/data.h"
#include "output.h"

#include <string.h>

static struct options { const char *name, *folder; } o;
static const fv_option rows[] = {{"name", FV_OPT_STRING, offsetof(struct options, name), NULL, 0, 0, "DATASET",
                                  "the data set; without it they are listed"},
                                 {"folder", FV_OPT_STRING, offsetof(struct options, folder), NULL, 0, 0, "FOLDER",
                                  "where it goes; data/NAME without it"},
                                 {0}};

static size_t groups(cli_group *group) {
    group[0] = (cli_group){"options", rows, &o, NULL};
    return 1;
}

static void list(void) {
    static const char *const columns[] = {"name", "licence", "what"};
    cli_table *table = cli_table_new(columns, 3);
    for (int i = 0; fv_recipe_at(i); i++) {
        cli_table_text(table, fv_recipe_at(i)->name);
        cli_table_text(table, fv_recipe_at(i)->licence);
        cli_table_text(table, fv_recipe_at(i)->help);
    }
    cli_table_print(table, cli_format_of(cli_global.format), stdout);
    cli_table_free(table);
}

static fv_status unknown(void) {
    const char *names[64];
    size_t count = 0;
    for (; count < 64 && fv_recipe_at((int)count); count++) names[count] = fv_recipe_at((int)count)->name;
    return cli_unknown("data set", o.name, names, count);
}

static fv_status run(void) {
    const fv_recipe *recipe = NULL;
    if (!o.name) {
        list();
        return FV_OK;
    }
    for (int i = 0; fv_recipe_at(i); i++)
        if (strcmp(fv_recipe_at(i)->name, o.name) == 0) recipe = fv_recipe_at(i);
    if (!recipe) return unknown();
    char *folder = o.folder ? cli_text("%s", o.folder) : cli_text("data/%s", o.name);
    fv_status status = fv_recipe_make(o.name, folder);
    if (status == FV_OK) {
        cli_say("licence: %s", recipe->licence);
        printf("%s\n", folder);
    }
    cli_free(folder);
    return status;
}

const cli_command cmd_data = {
    .name = "data",
    .summary = "make a real data set from public packages",
    .usage = "[NAME [FOLDER]]",
    .positional = "name folder",
    .examples = "fovea data\nfovea data app16 data/app16",
    .saves = true,
    .groups = groups,
    .run = run,
};
