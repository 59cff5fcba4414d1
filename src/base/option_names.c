/* Other names of options: what this library called them before, and what other tools call them. The same table
 * serves the command line, configuration files, the environment, saved models and fv_options_set. */
#include "base/base.h"

#include <stdio.h>
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
    {"format", "results"},
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

/* ---- tables within tables */

fv_option_walk fv_option_walk_of(const fv_option *rows) { return (fv_option_walk){.rows = rows, .at = {rows}}; }

/* Does the outermost table have a row of this name itself? */
static bool is_hidden(const fv_option_walk *walk, const char *name) {
    for (const fv_option *row = walk->rows; walk->depth > 0 && row->name; row++)
        if (row->type != FV_OPT_GROUP && strcmp(row->name, name) == 0) return true;
    return false;
}

static void enter(fv_option_walk *walk, const fv_option *group) {
    const int d = walk->depth;
    const size_t more = strlen(group->name);
    if (d + 1 >= FV_OPTION_DEPTH || walk->prefix[d] + more >= sizeof walk->name) return;
    memcpy(walk->name + walk->prefix[d], group->name, more + 1);
    walk->at[d + 1] = group->group();
    walk->offset[d + 1] = walk->offset[d] + group->offset;
    walk->prefix[d + 1] = walk->prefix[d] + more;
    walk->depth++;
}

bool fv_option_next(fv_option_walk *walk) {
    for (;;) {
        const int d = walk->depth;
        const fv_option *row = walk->at[d]++;
        if (!row->name) {
            walk->at[d]--; /* stays at the end */
            if (d == 0) return false;
            walk->depth--;
        } else if (row->type == FV_OPT_GROUP) {
            enter(walk, row);
        } else {
            snprintf(walk->name + walk->prefix[d], sizeof walk->name - walk->prefix[d], "%s", row->name);
            if (is_hidden(walk, walk->name)) continue;
            walk->row = *row;
            walk->row.name = walk->name;
            walk->row.offset += walk->offset[d];
            return true;
        }
    }
}

bool fv_option_walk_find(fv_option_walk *walk, const fv_option *rows, const char *name) {
    for (int aliases = 0; aliases < 2; aliases++)
        for (*walk = fv_option_walk_of(rows); fv_option_next(walk);)
            if (aliases ? is_alias(walk->name, name) : same_name(walk->name, name)) {
                walk->row.name = walk->name;
                return true;
            }
    return false;
}

const fv_option *fv_option_find(const fv_option *rows, const char *name) {
    for (const fv_option *row = rows; row->name; row++)
        if (same_name(row->name, name)) return row;
    for (const fv_option *row = rows; row->name; row++)
        if (is_alias(row->name, name)) return row;
    return NULL;
}
