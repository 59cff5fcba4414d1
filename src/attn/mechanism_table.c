/* The table of mechanisms. */
#include "attn/mechanism_contract.h"

#include <string.h>

#define MECHANISM(name) extern const fv__mechanism fv__mech_##name;
#include "attn/mechanisms.def"
#undef MECHANISM

static const fv__mechanism *const table[] = {
#define MECHANISM(name) &fv__mech_##name,
#include "attn/mechanisms.def"
#undef MECHANISM
};

size_t fv_mechanism_count(void) { return sizeof table / sizeof *table; }

const fv_mechanism *fv_mechanism_at(size_t index) { return index < fv_mechanism_count() ? &table[index]->info : NULL; }

/* '-' and '_' are the same letter, as in options. */
static bool same_name(const char *a, const char *b) {
    for (; *a && *b; a++, b++)
        if (*a != *b && !((*a == '-' || *a == '_') && (*b == '-' || *b == '_'))) return false;
    return *a == *b;
}

/* Names of earlier versions, which saved models still use: theirs, ours. */
static const char *const aliases[][2] = {{"pixel-gate", "spatial-gate"}};

const fv_mechanism *fv_mechanism_find(const char *name) {
    for (size_t i = 0; name && i < sizeof aliases / sizeof *aliases; i++)
        if (same_name(aliases[i][0], name)) name = aliases[i][1];
    for (size_t i = 0; name && i < fv_mechanism_count(); i++)
        if (same_name(table[i]->info.name, name)) return &table[i]->info;
    return NULL;
}
