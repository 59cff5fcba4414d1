/* The contract of a layer: one file per kind, one row in list.def.
 *
 * A kind is a constant fv__layer_NAME. Its struct starts with fv_layer, lies in the memory of the parameters, and
 * holds the indexes of its parameters and its child layers. `create` gets options that are complete (defaults filled
 * in) and in range. */
#ifndef FV_NN_CONTRACT_H
#define FV_NN_CONTRACT_H

#include "base/base.h"
#include "fovea/nn.h"

typedef struct fv__layer_kind {
    fv_layer_kind info; /* public row; first */
    size_t size;        /* of the layer's struct */
    fv_status (*create)(fv_layer *layer, fv_params *params, const void *options);
    fv_node *(*forward)(const fv_layer *layer, fv_graph *g, const fv_flow *flow); /* flow->x fits `in` */
} fv__layer_kind;

struct fv_layer {
    const fv__layer_kind *kind;
    const char *name;
    int64_t in, out; /* columns; create sets them. in 0: any */
};

/* Checks the options, makes the layer in the parameters' memory and calls its create. */
fv_status fv__layer_new(fv_layer **layer, const fv__layer_kind *kind, fv_params *params, const char *name,
                        const void *options);

/* "NAME.part" in `text`. Too long is FV_USAGE. */
typedef struct fv__name {
    char text[256];
} fv__name;
fv_status fv__layer_part(fv__name *name, const fv_layer *layer, const char *part);

/* Adds the parameter "NAME.part". */
fv_status fv__layer_param(const fv_layer *layer, fv_params *params, const char *part, int rank, const int64_t *dim,
                          fv_init init, uint32_t flags, int *index);

/* A text that lives as long as the parameters. */
fv_status fv__layer_text(fv_params *params, const char *text, const char **copy);

static inline bool fv__is(const char *a, const char *b) {
    while (*a && *a == *b) a++, b++;
    return *a == *b;
}

/* Rows of option tables: FV__FIELD(struct, type, field, "name", standard, min, max, choices, help) */
#define FV__FIELD(options, type, field, name, standard, min, max, choices, help) \
    { name, FV_OPT_##type, offsetof(options, field), standard, min, max, choices, help }
#define FV__ATTENTION(options, field) \
    { "", FV_OPT_GROUP, offsetof(options, field), NULL, 0, sizeof(fv_attention_options), NULL, NULL, fv_attention_rows }
#define FV__D_MODEL(options, field, name, help) FV__FIELD(options, INT, field, name, NULL, 1, 1 << 24, NULL, help)
#define FV__RATE(options, field, name, help) FV__FIELD(options, FLOAT, field, name, "0", 0, 0.99, NULL, help)

#define LAYER(id, options) extern const fv__layer_kind fv__layer_##id;
#include "nn/list.def"
#undef LAYER

#endif
