/* Operands by their rows: names, roles, and shapes written in letters. */
#include "attn/attn.h"

#include <stdio.h>
#include <string.h>

static const fv_operand_row rows[FV_OPERANDS] = {
#define FV_OPERAND(id, name, role, flags, dtypes, shape, help) [id] = {name, role, flags, dtypes, shape, help},
#include "fovea/operands.def"
#undef FV_OPERAND
};

const fv_operand_row *fv_operand_info(fv_operand operand) {
    static const fv_operand_row none = {"", 0, 0, "", "", ""};
    return (unsigned)operand < FV_OPERANDS ? &rows[operand] : &none;
}

const char *fv_operand_name(fv_operand operand) { return fv_operand_info(operand)->name; }

bool fv_operand_is(fv_operand operand, uint32_t roles) { return (fv_operand_info(operand)->role & roles) != 0; }

const fv_mechanism_operand *fv_mechanism_own(const fv_mechanism *m, fv_operand operand) {
    for (const fv_mechanism_operand *row = m->operands; row && row->name; row++)
        if (row->operand == operand) return row;
    return NULL;
}

/* ---- shapes */

static const char *shape_text(const fv_attention_plan *plan, fv_operand operand) {
    const fv_operand as = operand == FV_STATE_OUT ? FV_STATE : operand; /* both have one shape */
    const fv_mechanism_operand *own = fv_mechanism_own(&plan->mechanism->info, as);
    return own ? own->shape : fv_operand_info(operand)->shape;
}

/* The size that a name of `length` characters stands for. */
static int64_t extent(const fv_attention_plan *plan, const char *name, size_t length) {
    const struct {
        const char *name;
        int64_t size;
    } known[] = {{"B", plan->batch},  {"H", plan->heads}, {"Hkv", plan->kv_heads}, {"Lq", plan->q_len},
                 {"Lk", plan->k_len}, {"D", plan->d_qk},  {"Dv", plan->d_v},       {"N", plan->sequences}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].name) == length && memcmp(known[i].name, name, length) == 0) return known[i].size;
    return plan->mechanism->extent ? plan->mechanism->extent(plan, *name) : 0;
}

/* One axis: "Lk", "Lk|1", "N+1". Returns what follows it. */
static const char *parse_axis(const fv_attention_plan *plan, const char *text, int64_t *size, bool *broadcast) {
    const size_t length = strcspn(text, ",|+ ");
    *size = extent(plan, text, length), *broadcast = false;
    text += length;
    if (*text == '+') *size += text[1] - '0', text += 2;
    if (*text == '|') *broadcast = true, text += 2;
    return *text == ',' ? text + 1 : text;
}

fv__shape fv__attn_parse_shape(const fv_attention_plan *plan, const char **text) {
    fv__shape shape = {0};
    while (**text && **text != ' ' && shape.rank < FV_MAX_DIMS) {
        *text = parse_axis(plan, *text, &shape.dim[shape.rank], &shape.broadcast[shape.rank]);
        shape.rank++;
    }
    if (**text) *text += strlen(" or ");
    return shape;
}

static bool fits(const fv__shape *shape, const fv_tensor *t) {
    if (t->rank != shape->rank) return false;
    for (int a = 0; a < t->rank; a++)
        if (t->dim[a] != shape->dim[a] && !(shape->broadcast[a] && t->dim[a] == 1)) return false;
    return true;
}

bool fv__attn_fits(const fv_attention_plan *plan, fv_operand operand, const fv_tensor *t) {
    const char *text = shape_text(plan, operand);
    bool found = !*text;
    while (*text && !found) {
        const fv__shape shape = fv__attn_parse_shape(plan, &text);
        found = fits(&shape, t);
    }
    return found;
}

/* "(B|1,Lk) = (2|1,7)" */
void fv__attn_shape_text(const fv_attention_plan *plan, fv_operand operand, char *out, size_t size) {
    const char *text = shape_text(plan, operand);
    size_t used = 0;
    out[0] = '\0';
    while (*text && used < size) {
        const char *start = text;
        const fv__shape shape = fv__attn_parse_shape(plan, &text);
        used += (size_t)snprintf(out + used, size - used, "%s(%.*s) = (", used ? " or " : "", (int)strcspn(start, " "),
                                 start);
        for (int a = 0; a < shape.rank && used < size; a++)
            used += (size_t)snprintf(out + used, size - used, "%s%lld%s", a ? "," : "", (long long)shape.dim[a],
                                     shape.broadcast[a] ? "|1" : "");
        if (used < size) used += (size_t)snprintf(out + used, size - used, ")");
    }
}

/* ---- the shape an operand must have */

static bool computed(const fv_attention_plan *plan, fv_operand operand) {
    const uint64_t known = plan->mechanism->info.needs | plan->mechanism->info.takes;
    if (operand == FV_OUT) return true;
    if (operand == FV_LSE) return fv__attn_has_lse(plan);
    if (operand == FV_STATE_OUT) /* of a normalized recurrence for who gives one; it must be causal */
        return (known & FV_OPERAND_BIT(FV_STATE)) && (!fv__attn_has_lse(plan) || plan->shape[FV_STATE].rank);
    if (operand == FV_AUX) return fv_mechanism_own(&plan->mechanism->info, operand) || fv__cast_keeps_out(plan);
    return (known & FV_OPERAND_BIT(operand)) && fv_operand_is(operand, FV_ROLE_DIFFERENTIABLE | FV_ROLE_OUTPUT);
}

fv_dtype fv__attn_dtype(const fv_attention_plan *plan, fv_operand operand) {
    return strncmp(fv_operand_info(operand)->dtypes, "arithmetic", 10) == 0 ? plan->dtype : plan->storage;
}

fv_tensor fv__attn_operand_shape(const fv_attention_plan *plan, fv_operand operand) {
    const char *text = shape_text(plan, operand);
    const fv_dtype dtype = fv__attn_dtype(plan, operand);
    if (!computed(plan, operand) || !*text || strchr(text, '|')) return (fv_tensor){.dtype = dtype};
    const fv__shape shape = fv__attn_parse_shape(plan, &text);
    return fv_tensor_of(NULL, dtype, shape.rank, shape.dim);
}
