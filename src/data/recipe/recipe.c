/* recipe.c - the table of recipes, and what all of them share: the folder, its lock, CHECKSUMS and README. */
#include "data/recipe/recipe_contract.h"
#include "data/recipe/md5.h"

#include <stdio.h>
#include <string.h>

#define FV__RECIPE(name) &fv__recipe_##name,
static const fv__recipe *const recipes[] = {
#include "data/recipe/list.def"
    NULL};
#undef FV__RECIPE

const fv_recipe *fv_recipe_at(int index) {
    if (index < 0 || index >= (int)(sizeof recipes / sizeof *recipes) - 1) return NULL;
    return &recipes[index]->info;
}

static const fv__recipe *find(const char *name) {
    for (int i = 0; recipes[i]; i++)
        if (!strcmp(recipes[i]->info.name, name)) return recipes[i];
    return NULL;
}

static fv_status unknown(const char *name) {
    const char *names[sizeof recipes / sizeof *recipes] = {NULL};
    for (int i = 0; recipes[i]; i++) names[i] = recipes[i]->info.name;
    return fv__unknown_name("data set", name, names);
}

/* One line of CHECKSUMS, as md5sum -c reads it, behind a comment with the number of lines. */
static fv_status check_line(fv__buf *sums, const char *folder, const char *name, const char *known) {
    char *path, hex[33];
    fv__file file;
    FV_TRY(fv__path_join(&path, folder, name));
    fv_status status = fv__file_read(&file, path);
    fv__free(path);
    FV_TRY(status);
    int64_t lines = 0;
    for (size_t i = 0; i < file.size; i++) lines += file.data[i] == '\n';
    fv__md5_hex(hex, file.data, file.size);
    fv__buf_printf(sums, "# %s: %lld lines%s\n%s  %s\n", name, (long long)lines,
                   !known ? ""
                   : !strcmp(known, hex)
                       ? ", the same as in the documentation's tables"
                       : ", not the rows of the documentation's tables: the packages have changed since",
                   hex, name);
    fv__file_free(&file);
    return fv__buf_status(sums);
}

static fv_status check_lines(fv__buf *sums, const fv__recipe *recipe, const char *folder) {
    for (int i = 0; recipe->files[i]; i++)
        FV_TRY(check_line(sums, folder, recipe->files[i], recipe->known_md5 ? recipe->known_md5[i] : NULL));
    return FV_OK;
}

/* CHECKSUMS is written last, so a folder where it agrees with the files is complete. */
static bool complete(const fv__recipe *recipe, const char *folder, const char *path) {
    if (!fv__path_exists(path)) return false;
    fv__buf sums = {0};
    fv__file file = {0};
    bool same = check_lines(&sums, recipe, folder) == FV_OK && fv__file_read(&file, path) == FV_OK &&
                file.size == sums.size && !memcmp(file.data, sums.data, sums.size);
    fv__file_free(&file);
    fv__buf_free(&sums);
    return same;
}

static fv_status finish(const fv__recipe *recipe, const char *folder, const char *checksums) {
    char *readme = NULL;
    fv__buf sums = {0};
    fv_status status = fv__path_join(&readme, folder, "README");
    if (status == FV_OK) status = fv__write_file(readme, recipe->about, strlen(recipe->about));
    if (status == FV_OK) status = check_lines(&sums, recipe, folder);
    if (status == FV_OK) status = fv__write_file(checksums, sums.data, sums.size);
    for (char *line = sums.data; status == FV_OK && line && *line;) {
        char *end = strchr(line, '\n');
        fv__log(FV_LOG_INFO, "data: %.*s", (int)(end - line), line);
        line = end + 1;
    }
    fv__buf_free(&sums);
    fv__free(readme);
    return status;
}

static fv_status make(const fv__recipe *recipe, const char *folder, const char *checksums) {
    if (complete(recipe, folder, checksums)) {
        fv__log(FV_LOG_INFO, "data: %s is complete and its checksums agree: nothing to do", folder);
        return FV_OK;
    }
    FV_TRY(recipe->make(folder));
    return finish(recipe, folder, checksums);
}

fv_status fv_recipe_make(const char *name, const char *folder) {
    const fv__recipe *recipe = find(name);
    if (!recipe) return unknown(name);
    FV_TRY(fv__make_dirs(folder));
    char *checksums = NULL, *lock = NULL;
    fv__lock_held held;
    fv_status status = fv__path_join(&checksums, folder, "CHECKSUMS");
    if (status == FV_OK) status = fv__path_join(&lock, folder, ".lock");
    if (status == FV_OK) status = fv__lock(&held, lock);
    if (status == FV_OK) {
        status = make(recipe, folder, checksums);
        fv__unlock(&held);
    }
    fv__free(lock);
    fv__free(checksums);
    return status;
}
