/* Presets: named, complete choices of a model and its training. Chosen by accuracy on the validation texts of app16,
 * few of them with more than one seed: differences of a point there are noise. */
#include "model/model.h"

#include <string.h>

static const char *const textbook[] = {"epochs=6", "learning-rate=0.003", NULL};

static const char *const scratch[] = {"layers=2",  "pooling=attention",   "dropout=0.2",         "word-dropout=0.2",
                                      "epochs=10", "learning-rate=0.002", "label-smoothing=0.1", "ema-decay=0.995",
                                      NULL};

/* Tables learn slowly, so that the word vectors stay near what all texts taught them. */
static const char *const vectors[] = {"layers=1",
                                      "pooling=attention",
                                      "ngram-bits=16",
                                      "dropout=0.3",
                                      "word-dropout=0.3",
                                      "epochs=7",
                                      "learning-rate=0.003",
                                      "embedding-lr-multiplier=0.3",
                                      "ema-decay=0.995",
                                      "label-smoothing=0.1",
                                      NULL};

static const fv_preset presets[] = {
    {"textbook", "embedding, 8-head attention, mean, linear", "attention", textbook},
    {"scratch", "two encoder layers, nothing but the labelled texts", "transformer", scratch},
    {"word-vectors", "one encoder layer on word vectors and character n-grams: recommended", "transformer", vectors},
};
enum { PRESETS = sizeof presets / sizeof *presets };

size_t fv_preset_count(void) { return PRESETS; }
const fv_preset *fv_preset_at(size_t index) { return index < PRESETS ? &presets[index] : NULL; }

const fv_preset *fv_preset_find(const char *name) {
    for (size_t i = 0; i < PRESETS; i++)
        if (name && strcmp(presets[i].name, name) == 0) return &presets[i];
    return NULL;
}
