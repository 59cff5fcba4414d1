/* The table of mechanisms and the names of operands. */
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

const char *fv_operand_name(fv_operand operand) {
    static const char *const names[FV_OPERANDS] = {
        [FV_Q] = "q",
        [FV_K] = "k",
        [FV_V] = "v",
        [FV_BIAS] = "bias",
        [FV_SINKS] = "sinks",
        [FV_SLOPES] = "slopes",
        [FV_LOG_DECAY] = "log_decay",
        [FV_BETA] = "beta",
        [FV_STATE] = "state",
        [FV_W0] = "w0",
        [FV_W1] = "w1",
        [FV_W2] = "w2",
        [FV_W3] = "w3",
        [FV_W4] = "w4",
        [FV_W5] = "w5",
        [FV_MASK] = "mask",
        [FV_KV_LEN] = "kv_len",
        [FV_PREFIX_LEN] = "prefix_len",
        [FV_CU_Q] = "cu_q",
        [FV_CU_K] = "cu_k",
        [FV_INDEX] = "index",
        [FV_OUT] = "out",
        [FV_LSE] = "lse",
        [FV_STATE_OUT] = "state_out",
        [FV_AUX] = "aux",
    };
    return (unsigned)operand < FV_OPERANDS ? names[operand] : "";
}
