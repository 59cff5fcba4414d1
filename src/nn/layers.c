/* The table of layers, and what creating and running has in common. */
#include "nn/layer_contract.h"

#include "grad/graph.h"

#include <stdio.h>
#include <string.h>

enum { OPTIONS_ROOM = 512 };

static const fv__layer_kind *const kinds[] = {
#define LAYER(id, options) &fv__layer_##id,
#include "nn/list.def"
#undef LAYER
};

#define LAYER(id, options_type)                                                                                   \
    fv_status fv_layer_##id(fv_layer **, fv_params *, const char *, const options_type *);                        \
    fv_status fv_layer_##id(fv_layer **layer, fv_params *params, const char *name, const options_type *options) { \
        return fv__layer_new(layer, &fv__layer_##id, params, name, options);                                      \
    }
#include "nn/list.def"
#undef LAYER

size_t fv_layer_kind_count(void) { return sizeof kinds / sizeof *kinds; }

const fv_layer_kind *fv_layer_kind_at(size_t index) {
    return index < fv_layer_kind_count() ? &kinds[index]->info : NULL;
}

const fv_layer_kind *fv_layer_kind_find(const char *name) {
    for (size_t i = 0; i < fv_layer_kind_count(); i++)
        if (fv__is(kinds[i]->info.name, name)) return &kinds[i]->info;
    return NULL;
}

/* ---- creating */

/* Fills in absent texts and checks every field as if it had come as text: C code and configuration files get one
 * message. */
static fv_status complete(const fv_layer_kind *kind, const char *name, char *options) {
    char scratch[OPTIONS_ROOM], value[256];
    memcpy(scratch, options, kind->options_size);
    for (const fv_option *row = kind->rows; row->name; row++) {
        bool text = row->type == FV_OPT_STRING || row->type == FV_OPT_CHOICE;
        const char **field = (const char **)(void *)(options + row->offset);
        if (text && !*field) *field = row->standard;
        if (text && !*field) continue;
        if (fv_options_print(row, options, value, sizeof value) >= sizeof value)
            return fv__fail(FV_USAGE, "layer %s (%s): option \"%s\" is too long", name, kind->name, row->name);
        fv_status status = fv_options_set(kind->rows, scratch, row->name, value);
        if (status != FV_OK) return fv__fail(status, "layer %s (%s): %s", name, kind->name, fv_message());
    }
    return FV_OK;
}

fv_status fv__layer_new(fv_layer **out, const fv__layer_kind *kind, fv_params *params, const char *name,
                        const void *options) {
    _Alignas(max_align_t) char own[OPTIONS_ROOM];
    _Static_assert(sizeof(fv_block_options) <= OPTIONS_ROOM && sizeof(fv_multi_head_options) <= OPTIONS_ROOM,
                   "room for options");
    *out = NULL;
    memcpy(own, options, kind->info.options_size);
    FV_TRY(complete(&kind->info, name, own));
    fv_layer *layer = fv__params_memory(params, kind->size);
    if (!layer) return FV_NO_RESOURCES;
    layer->kind = kind;
    FV_TRY(fv__layer_text(params, name, &layer->name));
    FV_TRY(kind->create(layer, params, own));
    *out = layer;
    return FV_OK;
}

fv_status fv_layer_create(fv_layer **layer, const char *kind, fv_params *params, const char *name,
                          const void *options) {
    const char *names[64] = {NULL};
    *layer = NULL;
    for (size_t i = 0; i < fv_layer_kind_count() && i < 63; i++) {
        if (fv__is(kinds[i]->info.name, kind)) return fv__layer_new(layer, kinds[i], params, name, options);
        names[i] = kinds[i]->info.name;
    }
    const char *near = fv__nearest(kind, names);
    return fv__fail(FV_USAGE, "there is no layer \"%s\"%s%s", kind, near ? "\n  did you mean: " : "", near ? near : "");
}

fv_status fv__layer_part(fv__name *name, const fv_layer *layer, const char *part) {
    int length = snprintf(name->text, sizeof name->text, "%s.%s", layer->name, part);
    if (length > 0 && (size_t)length < sizeof name->text) return FV_OK;
    return fv__fail(FV_USAGE, "layer %.40s...: its name is too long", layer->name);
}

fv_status fv__layer_param(const fv_layer *layer, fv_params *params, const char *part, int rank, const int64_t *dim,
                          fv_init init, uint32_t flags, int *index) {
    fv__name name;
    FV_TRY(fv__layer_part(&name, layer, part));
    return fv_params_add(params, name.text, rank, dim, init, flags, index);
}

fv_status fv__layer_text(fv_params *params, const char *text, const char **copy) {
    size_t bytes = strlen(text) + 1;
    char *memory = fv__params_memory(params, bytes);
    if (!memory) return FV_NO_RESOURCES;
    memcpy(memory, text, bytes);
    *copy = memory;
    return FV_OK;
}

/* ---- running */

fv_node *fv_layer_forward(const fv_layer *layer, fv_graph *g, fv_node *x, const fv_sequences *s) {
    if (!fv__ready(g, layer->name, &x, 1)) return &g->empty;
    if (layer->in && fv__columns(x) != layer->in)
        return fv_graph_failed(g, fv__fail(FV_USAGE, "layer %s: an input of %lld columns\n  expected: %lld",
                                           layer->name, (long long)fv__columns(x), (long long)layer->in));
    return layer->kind->forward(layer, g, x, s);
}

const char *fv_layer_name(const fv_layer *layer) { return layer->name; }
int64_t fv_layer_out(const fv_layer *layer) { return layer->out; }
