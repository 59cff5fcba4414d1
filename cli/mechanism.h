/* Mechanisms and their operands by the names people use. */
#ifndef CLI_MECHANISM_H
#define CLI_MECHANISM_H

#include "fovea/attention.h"

/* Of "topk" or "topk:k=8". FV_USAGE with the nearest name. */
fv_status cli_mechanism_find(const char *text, const fv_mechanism **mechanism);

/* What an operand is called in files and in tables; NULL: an own parameter the mechanism does not have. mechanism NULL:
 * what every mechanism calls it. */
const char *cli_operand_name(const fv_mechanism *mechanism, int operand);

#endif
