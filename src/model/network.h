/* network: the parts that neural kinds share, and running one on a batch. */
#ifndef FV_MODEL_NETWORK_H
#define FV_MODEL_NETWORK_H

#include "model/model.h"

/* A step: forgets the last one; `seed` addresses everything random in it. */
void fv__run_begin(fv__run *run, fv_mode mode, uint64_t seed);

/* What the file of a kind keeps of a model: a struct of its own, zeroed, freed with the model. NULL: no memory. */
void *fv__network_new(fv_model *model, size_t size);

typedef struct fv__embeddings {
    fv_layer *words, *ngrams; /* ngrams: NULL unless the options ask for them */
} fv__embeddings;
/* The table of words and, if the options ask for them, of character n-grams. */
fv_status fv__make_embeddings(fv__embeddings *embeddings, fv_model *model);
/* (T, d_model): word vectors, some replaced by the unknown word's while training, plus the mean of their n-grams'
 * vectors. */
fv_node *fv__embed(const fv__embeddings *embeddings, fv__run *run, const fv_batch *batch);

fv_status fv__make_linear(fv_layer **layer, fv_model *model, const char *name, int64_t in, int64_t out);
fv_status fv__make_pooling(fv_layer **layer, fv_model *model);
/* Do heads, d_model and mechanism fit? */
fv_status fv__check_attention(const fv_model_options *options);
fv_status fv__check_ngrams(const fv_model_options *options);

static inline fv_sequences fv__sequences(const fv_batch *batch) {
    return (fv_sequences){batch->rows, batch->cu_seqlens};
}

#endif
