/* term: what the parts of the terminal view share. A mode without colour writes no escape bytes at all. */
#ifndef FV_EXPLAIN_TERM_H
#define FV_EXPLAIN_TERM_H

#include "explain/render.h"

typedef enum fv__term_mode { FV_TERM_ASCII, FV_TERM_256, FV_TERM_TRUE } fv__term_mode;
typedef struct fv__term {
    fv__buf *out;
    fv__term_mode mode;
    int64_t columns;
    const fv_explanation *e;
    const fv_render_options *options;
} fv__term;

/* ---- pieces (term.c): append to any buffer */
void fv__term_ground(const fv__term *t, fv__buf *out, double shade); /* background, and ink that reads on it */
void fv__term_half(const fv__term *t, fv__buf *out, double upper,
                   const double *lower); /* half block; lower may be NULL */
void fv__term_reset(const fv__term *t, fv__buf *out);
void fv__term_heading(const fv__term *t, const char *text); /* bold line, cut to the width */
void fv__term_line(const fv__term *t, const char *text);
void fv__term_spaces(fv__buf *out, int64_t count);
void fv__term_bar(const fv__term *t, fv__buf *out, double share, int64_t columns); /* -1 .. 1, padded to `columns` */
char fv__term_ramp(double shade); /* " .:-=+*#%@", below zero "v" and "V" */
int64_t fv__term_caption(fv__buf *out, const fv_explain_sequence *s, int64_t token, int64_t columns); /* columns used */

/* ---- parts: each writes finished lines to t->out */
fv_status fv__term_texts(const fv__term *t, const fv_attribution *const side[2]); /* term_text.c */
fv_status fv__term_matrix(const fv__term *t);                                     /* term_matrix.c */

#endif
