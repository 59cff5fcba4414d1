/* The table of row weights. */
#include "attn/weight/row_weight.h"

static const fv__row_weight *const table[] = {
#define ROW_WEIGHT(name) &fv__weight_##name,
#include "attn/weight/list.def"
#undef ROW_WEIGHT
};

const fv__row_weight *fv__row_weight_at(size_t index) {
    return index < sizeof table / sizeof *table ? table[index] : NULL;
}
