/* Presets: named, complete choices of a model and its training. The settings were chosen on validation texts only. */
#include "model/model.h"

#include <string.h>

static const char *const textbook[] = {"epochs=8", "learn-rate=0.001", NULL};
static const char *const scratch[] = {"layers=2", "epochs=12", "learn-rate=0.001", NULL};
static const char *const vectors[] = {"layers=1",      "pool=mean+attention",   "ngram-bits=16", "dropout=0.2",
                                      "epochs=10",     "label-smoothing=0.1",   NULL};

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
