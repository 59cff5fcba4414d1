/* Between the parts of an optimizer. */
#ifndef FV_OPTIM_OPTIMIZER_H
#define FV_OPTIM_OPTIMIZER_H

#include "optim/optimizer_contract.h"

/* Puts defaults in the place of zeros (and zero in the place of numbers below), checks every range, finds the variant.
 * FV_USAGE. */
fv_status fv__optimizer_complete(fv_optimizer_options *options, const fv__optimizer_kind **kind);

#endif
