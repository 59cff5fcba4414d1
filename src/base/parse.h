/* base: numbers as text. */
#ifndef FV_BASE_PARSE_H
#define FV_BASE_PARSE_H

#include "fovea/base.h"

/* Strict numbers: the whole text, no overflow, no NaN. */
bool fv__parse_int(const char *text, int64_t *value);
bool fv__parse_float(const char *text, double *value);
void fv__print_float(char text[32], double value); /* the shortest decimal text that reads back the same */

#endif
