/* Word vectors: safetensors and the text formats. */
#include "fuzz/fuzz.h"

#include "fovea/vectors.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    fv_vectors *v;
    int64_t row[4];
    float cosine[4];
    if (!fuzz_done(fv_vectors_load(&v, fuzz_file(0, bytes, size)))) return 0;
    for (int64_t i = 0; i < v->count && i < 100; i++)
        if (fv_vectors_find(v, v->word[i]) != i) abort();
    if (v->count > 0) fv_vectors_nearest(v, 0, row, cosine, 4);
    fv_vectors_free(v);
    return 0;
}
