/* The contract of a recipe (one file each, one row in list.def): it rebuilds a real data set from public packages.
 * `make` writes its files into an existing folder; the dispatcher (recipe.c) checks what is there already, keeps a
 * second process out, and writes CHECKSUMS and README. */
#ifndef FV_DATA_RECIPE_H
#define FV_DATA_RECIPE_H

#include "fovea/data.h"

typedef struct fv__recipe {
    fv_recipe info;               /* public row; first, so a pointer to it is a pointer to this */
    const char *const *files;     /* what it makes, NULL-terminated */
    const char *const *known_md5; /* the same files when the baselines in the documentation were measured, or NULL */
    const char *about;            /* text of README: what a row is, how it is split, licence */
    fv_status (*make)(const char *folder);
} fv__recipe;

#define FV__RECIPE(name) extern const fv__recipe fv__recipe_##name;
#include "data/recipe/list.def"
#undef FV__RECIPE

#endif
