/* The text that names a mechanism and its parameters: "topk:k=32". */
#include "attn/attn.h"

#include <string.h>

static const fv__mechanism *find(const char *name) { return (const fv__mechanism *)fv_mechanism_find(name); }

static fv_status unknown(const char *name) {
    const char *names[64];
    size_t count = 0;
    for (; count < fv_mechanism_count() && count < 63; count++) names[count] = fv_mechanism_at(count)->name;
    names[count] = NULL;
    return fv__unknown_name("attention mechanism", name, names);
}

/* Sets one "key=value" that ends at `end`; both are cut out of `text` in place. */
static fv_status set_one(const fv__mechanism *m, void *params, char *text) {
    char *equals = strchr(text, '=');
    if (!equals)
        return fv__fail(FV_USAGE, "attention: mechanism \"%s\"\n  expected name=value\n  found:   \"%s\"", m->info.name,
                        text);
    *equals = '\0';
    return fv_options_set(m->info.params, params, text, equals + 1);
}

fv_status fv__attn_parse(fv_attention_plan *plan, const char *text) {
    char copy[512];
    if (!text) text = "softmax";
    if (strlen(text) >= sizeof copy)
        return fv__fail(FV_USAGE, "attention: the text of the mechanism is longer than %d characters",
                        (int)sizeof copy - 1);
    strcpy(copy, text);
    char *rest = strchr(copy, ':');
    if (rest) *rest++ = '\0';
    plan->mechanism = find(copy);
    if (!plan->mechanism) return unknown(copy);
    const size_t size = plan->mechanism->params_size, length = rest ? strlen(rest) + 1 : 0;
    plan->params = fv__alloc(size + length); /* values that are words point into the text behind the struct */
    if (!plan->params) return FV_NO_RESOURCES;
    if (rest) rest = memcpy((char *)plan->params + size, rest, length);
    if (plan->mechanism->info.params) fv_options_init(plan->mechanism->info.params, plan->params);
    while (rest && *rest) {
        char *next = strchr(rest, ',');
        if (next) *next++ = '\0';
        if (!plan->mechanism->info.params)
            return fv__fail(FV_USAGE, "attention: mechanism \"%s\" has no parameters\n  found:   \"%s\"", copy, rest);
        FV_TRY(set_one(plan->mechanism, plan->params, rest));
        rest = next;
    }
    return FV_OK;
}
