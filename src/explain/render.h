/* render: the contract of a renderer. It is one constant fv__renderer_NAME in one file NAME.c and one row in
 * list.def.
 *
 * A renderer gets a finished explanation (texts are UTF-8, weights finite) and complete options, and writes bytes
 * into the sink. The same input gives the same bytes: no clock, no locale, no addresses. */
#ifndef FV_EXPLAIN_RENDER_H
#define FV_EXPLAIN_RENDER_H

#include "explain/tone.h"

/* Where output goes; after a failure the rest is dropped and the status kept. */
typedef struct fv__sink {
    fv_write_fn *write;
    void *context;
    fv_status status;
} fv__sink;
void fv__sink_add(fv__sink *sink, const void *bytes, size_t count);
void fv__sink_buf(fv__sink *sink, const fv__buf *buf); /* also takes over the buffer's failure */

typedef struct fv__renderer {
    fv_renderer info;
    bool merges_words; /* wants pieces merged to words before, when the option says so */
    fv_status (*draw)(const fv_explanation *e, const fv_render_options *options, fv__sink *sink);
} fv__renderer;

#define FV_RENDERER(name) extern const fv__renderer fv__renderer_##name;
#include "explain/list.def"
#undef FV_RENDERER

/* "16M" and its kin; FV_USAGE otherwise. */
fv_status fv__parse_bytes(const char *text, size_t *bytes);

/* "Layer 3, head 7", "Rollout", "Self-attention". Appends. */
void fv__head_title(fv__buf *out, const fv_explain_map *map, const fv_explain_head *head);

/* What the model did not see of a text, in a sentence; nothing when it saw all. Append. */
void fv__unread_sentence(fv__buf *out, const fv_explain_sequence *sequence);
void fv__unknown_sentence(fv__buf *out, const fv_explain_sequence *sequence);

/* The class the explanation speaks about, -1 when there is none. */
int32_t fv__explained_class(const fv_explanation *e);

/* The first two attributions that speak about that class or about none; entries are NULL where there are fewer. */
void fv__side_by_side(const fv_explanation *e, const fv_attribution *out[2]);
double fv__largest(const float *value, int64_t count); /* of the absolute values */

/* Shares that sum to one are measured against an even share, as weights are; others against the largest. */
fv__tone fv__attribution_tone(fv__scale scale, const fv_attribution *a, const fv_explain_sequence *sequence);

/* Heads whose rows are this near to the largest entropy look at nothing in particular. */
#define FV_NEARLY_UNIFORM 0.97
bool fv__nearly_uniform(const fv_explain_map *map, const fv_explain_head *head);

/* What is shown of a map when nothing is asked for; false: it has no matrix. */
bool fv__first_matrix(const fv_explain_map *map, int64_t *head);

/* Tokens of an attribution by absolute value, largest first, specials left out; at most `room`. Returns how many. */
int64_t fv__top_tokens(const fv_explanation *e, const fv_attribution *a, int64_t *token, int64_t room);

/* ---- terminal cells (cells.c) */

/* Appends text made safe for a terminal or a caption: blanks for line breaks and tabs, nothing for invisible format
 * characters but joiners, U+FFFD for other controls. */
void fv__plain_text(fv__buf *out, const char *text, size_t size);
/* Appends as much of a plain text as fits into `columns`, the last one "~" when something is left out; returns
 * columns used. */
int64_t fv__fit_columns(fv__buf *out, const char *text, size_t size, int64_t columns);
/* The same with another mark, which takes one column. */
int64_t fv__cut_columns(fv__buf *out, const char *text, size_t size, int64_t columns, const char *mark);
size_t fv__cluster(const char *text, size_t size); /* bytes of the first grapheme cluster of a text (size > 0) */

#endif
