/* Slopes of ALiBi. */
#ifndef FV_ATTN_ALIBI_SLOPES_H
#define FV_ATTN_ALIBI_SLOPES_H

#include <stdint.h>

/* The slope of a head, as operand FV_SLOPES takes it. */
double fv__alibi_slope(int64_t head, int64_t heads);

#endif
