/* Other names of options: what this library called them before, and what other tools call them. The same table
 * serves the command line, configuration files, the environment, saved models and fv_options_set. */
#include "base/base.h"

#include <string.h>

/* Names options of this library had before: today's name, then the earlier ones. */
static const char *const earlier[][4] = {
    {"learning-rate", "learn-rate"},
    {"embedding-lr-multiplier", "table-rate"},
    {"ema-decay", "average"},
    {"max-grad-norm", "clip-norm"},
    {"gradient-accumulation", "accumulate"},
    {"d-model", "width"},
    {"vector-dim", "vector-width"},
    {"head-dim", "head-width"},
    {"d-ff", "ffn", "hidden"},
    {"mechanism", "attention"},
    {"pooling", "pool"},
    {"statistics", "survey", "maps"},
    {"statistics-dropout", "survey-dropout"},
    {"log-decay", "gate"},
};

/* What fastText, Ultralytics, Marian, scikit-learn and Hugging Face call our options: ours first. */
static const char *const other_tools[][8] = {
    {"learning-rate", "lr", "lr0"},
    {"epochs", "epoch", "num-epochs", "num-train-epochs", "n-epochs"},
    {"batch-size", "batch", "bs", "mini-batch", "per-device-train-batch-size"},
    {"threads", "thread", "cpu-threads", "num-threads", "n-jobs", "workers"},
    {"d-model", "dim", "hidden-size", "embed-dim", "dim-emb"},
    {"width", "dim", "d-model", "hidden-size", "embed-dim", "dim-emb"},
    {"layers", "num-layers", "n-layers", "enc-depth", "depth", "num-hidden-layers"},
    {"heads", "num-heads", "n-heads", "nhead", "num-attention-heads"},
    {"kv-heads", "num-kv-heads", "kv-num-heads", "num-key-value-heads"},
    {"d-ff", "dim-ffn", "dim-feedforward", "intermediate-size"},
    {"attention", "mechanism"},
    {"max-length", "ctx-size", "max-len", "max-seq-length", "seq-len"},
    {"input", "data", "file", "input-file", "train-sets", "train-file"},
    {"valid", "valid-sets", "val", "validation", "validation-file"},
    {"test", "test-sets", "test-file"},
    {"output", "out", "o", "save-dir", "output-dir"},
    {"model", "model-type", "arch", "model-name-or-path"},
    {"vectors", "pretrained-vectors"},
    {"label-prefix", "label"},
    {"label-col", "target-col"},
    {"min-count", "min-frequency"},
    {"ngram-min", "minn"},
    {"ngram-max", "maxn"},
    {"weight-decay", "wd"},
    {"early-stopping", "patience"},
    {"seed", "random-state", "random-seed"},
    {"top-k", "k", "topk"},
    {"probabilities", "prob", "proba"},
    {"input-format", "data-format"},
    {"format", "input-format", "data-format"},
    {"softcap", "logits-soft-cap", "logit-softcap"},
    {"dropout", "dropout-p"},
    {"config", "cfg"},
    {"verbose", "verbosity"},
    {"quiet", "silent"},
    {"repeat", "repetitions"},
    {"color", "colour"},
    {"max-grad-norm", "grad-clip"},
    {"gradient-accumulation", "gradient-accumulation-steps", "optimizer-delay"},
};
enum { EARLIER = sizeof earlier / sizeof *earlier, OTHERS = sizeof other_tools / sizeof *other_tools };

const char *fv_option_earlier_name(const char *name, size_t index) {
    for (size_t i = 0; i < EARLIER; i++)
        if (strcmp(earlier[i][0], name) == 0) return index < 3 ? earlier[i][index + 1] : NULL;
    return NULL;
}

static size_t earlier_count(const char *name) {
    size_t count = 0;
    while (fv_option_earlier_name(name, count)) count++;
    return count;
}

const char *fv_option_alias(const char *name, size_t index) {
    size_t first = earlier_count(name);
    if (index < first) return fv_option_earlier_name(name, index);
    for (size_t i = 0; i < OTHERS; i++)
        if (strcmp(other_tools[i][0], name) == 0) return index - first < 7 ? other_tools[i][index - first + 1] : NULL;
    return NULL;
}

/* '-' and '_' are the same letter in a name. */
static bool same_name(const char *a, const char *b) {
    for (; *a && *b; a++, b++) {
        bool dashes = (*a == '-' || *a == '_') && (*b == '-' || *b == '_');
        if (*a != *b && !dashes) return false;
    }
    return *a == *b;
}

static bool is_alias(const char *name, const char *word) {
    const char *alias;
    for (size_t i = 0; (alias = fv_option_alias(name, i)); i++)
        if (same_name(alias, word)) return true;
    return false;
}

const fv_option *fv_option_find(const fv_option *rows, const char *name) {
    for (const fv_option *row = rows; row->name; row++)
        if (same_name(row->name, name)) return row;
    for (const fv_option *row = rows; row->name; row++)
        if (is_alias(row->name, name)) return row;
    return NULL;
}
