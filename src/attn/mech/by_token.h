/* References of recurrent mechanisms: who walks over what. A reference is then its formula, run over the tokens of
 * one head. */
#ifndef FV_ATTN_BY_TOKEN_H
#define FV_ATTN_BY_TOKEN_H

#include "attn/mechanism_contract.h"

/* One head of one sequence: tokens 0 to `length`; those at and beyond `keys` have no key, no value, no decay. */
typedef struct fv__token_walk {
    const fv__run *run;
    int64_t sequence, batch, head, kv, start, length, keys;
} fv__token_walk;

void fv__each_head(const fv__run *run, void (*reference)(fv__token_walk *w));

/* Column e of q, k, v at token t; the log decay of row e of the state, 0 without one; beta. */
double fv__token_q(const fv__token_walk *w, int64_t t, int64_t e);
double fv__token_k(const fv__token_walk *w, int64_t t, int64_t e);
double fv__token_v(const fv__token_walk *w, int64_t t, int64_t e);
double fv__token_log_decay(const fv__token_walk *w, int64_t t, int64_t e);
double fv__token_beta(const fv__token_walk *w, int64_t t);
void fv__token_out(const fv__token_walk *w, int64_t t, int64_t e, double value);
/* Column e of the initial state, zeros when there is none, and of the final one, when it is wanted: D numbers. */
void fv__token_state(const fv__token_walk *w, int64_t e, double *column);
void fv__token_state_out(const fv__token_walk *w, int64_t e, const double *column);

#endif
