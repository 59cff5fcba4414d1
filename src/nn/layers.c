/* The table of layers, and what creating and running has in common. */
#include "nn/layer_contract.h"

#include "grad/graph.h"

#include <stdio.h>
#include <string.h>

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

static fv_status make(fv_layer **out, const fv__layer_kind *kind, fv_params *params, const char *name,
                      const void *options) {
    fv_layer *layer = fv__params_memory(params, kind->size);
    if (!layer) return FV_NO_RESOURCES;
    layer->kind = kind;
    FV_TRY(fv__layer_text(params, name, &layer->name));
    FV_TRY(kind->create(layer, params, options));
    *out = layer;
    return FV_OK;
}

/* A copy of the options with every default in its place; NULL: zeros. */
static fv_status complete(void *own, const fv_layer_kind *kind, const char *name, const void *options) {
    memset(own, 0, kind->options_size);
    if (options) memcpy(own, options, kind->options_size);
    fv_status status = fv__options_complete(kind->rows, own);
    return status == FV_OK ? FV_OK : fv__fail(status, "layer %s (%s): %s", name, kind->name, fv_message());
}

fv_status fv__layer_new(fv_layer **out, const fv__layer_kind *kind, fv_params *params, const char *name,
                        const void *options) {
    *out = NULL;
    void *own = fv__alloc(kind->info.options_size);
    if (!own) return FV_NO_RESOURCES;
    fv_status status = complete(own, &kind->info, name, options);
    if (status == FV_OK) status = make(out, kind, params, name, own);
    fv__free(own);
    return status;
}

fv_status fv_layer_create(fv_layer **layer, const char *kind, fv_params *params, const char *name,
                          const void *options) {
    const char *names[64] = {NULL};
    *layer = NULL;
    for (size_t i = 0; i < fv_layer_kind_count() && i < 63; i++) {
        if (fv__is(kinds[i]->info.name, kind)) return fv__layer_new(layer, kinds[i], params, name, options);
        names[i] = kinds[i]->info.name;
    }
    return fv__unknown_name("layer", kind, names);
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

/* Pictures must have the rows of their sequences. */
static fv_status check_grid(const fv_layer *layer, const fv_flow *flow) {
    int64_t rows = flow->x->value.dim[0], count = flow->sequences ? flow->sequences->count : 1;
    for (int64_t n = 0; n < count; n++) {
        const int32_t *cu = flow->sequences ? flow->sequences->cu : NULL;
        int64_t length = cu ? cu[n + 1] - cu[n] : rows, height = flow->grid[n].height, width = flow->grid[n].width;
        if (height < 0 || width < 0 || (width ? height != length / width || length % width : length))
            return fv__fail(FV_USAGE,
                            "layer %s: the grid of sequence %lld does not fit\n  expected height * width = %lld rows\n"
                            "  found:   %lld * %lld",
                            layer->name, (long long)n, (long long)length, (long long)height, (long long)width);
    }
    return FV_OK;
}

fv_node *fv_layer_forward(const fv_layer *layer, fv_graph *g, const fv_flow *flow) {
    if (!fv__ready(g, layer->name, &flow->x, 1)) return &g->empty;
    if (layer->in && fv__columns(flow->x) != layer->in)
        return fv_graph_failed(g, fv__fail(FV_USAGE, "layer %s: its input\n  expected %lld columns\n  found:   %lld",
                                           layer->name, (long long)layer->in, (long long)fv__columns(flow->x)));
    fv_status status = flow->grid ? check_grid(layer, flow) : FV_OK;
    return status == FV_OK ? layer->kind->forward(layer, g, flow) : fv_graph_failed(g, status);
}

const char *fv_layer_name(const fv_layer *layer) { return layer->name; }
int64_t fv_layer_out(const fv_layer *layer) { return layer->out; }
