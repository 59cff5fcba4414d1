/* What is in a file or folder people point at: a model, tensors, or texts. Used by check and info. */
#ifndef CLI_CORPUS_STATISTICS_H
#define CLI_CORPUS_STATISTICS_H

#include "fovea/data.h"

typedef enum cli_thing { CLI_MODEL, CLI_TENSORS, CLI_TEXTS } cli_thing;
cli_thing cli_thing_of(const char *path);

/* Texts, classes, empty and repeated ones, lengths. */
typedef struct cli_corpus_statistics {
    int64_t texts, empty, repeated, bytes, longest, rarest;
    int32_t classes;
} cli_corpus_statistics;
void cli_corpus_statistics_of(const fv_dataset *data, cli_corpus_statistics *statistics);
void cli_corpus_statistics_print(const fv_dataset *data, const cli_corpus_statistics *statistics);

#endif
