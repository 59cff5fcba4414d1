/* vectors: word vectors from any text (fovea/vectors.h). It trains no network: what it makes is a file. */
#include "task/contract.h"

static fv_status make_file(const char *path, fv_texts texts, const void *options, fv__buf *what) {
    fv_vectors *learnt = NULL;
    fv_status status = fv_vectors_train(&learnt, texts, options);
    if (status == FV_OK) status = fv_vectors_save(learnt, path);
    if (status == FV_OK)
        fv__buf_printf(what, "%lld words of dimension %lld from %lld texts", (long long)learnt->count,
                       (long long)learnt->dim, (long long)texts.count);
    fv_vectors_free(learnt);
    return status;
}

static const fv_option none[] = {{0}};

const fv__task fv__task_vectors = {
    .info = {"vectors", "word vectors from any text", "a file of texts, one a line", FV_TARGET_NONE, 0, none, NULL,
             "vectors.safetensors"},
    .make_file = make_file,
};
