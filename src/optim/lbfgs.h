/* L-BFGS: minimises a smooth function of many variables from its gradients (Nocedal, "Updating Quasi-Newton Matrices
 * with Limited Storage", 1980; line search by the strong Wolfe conditions, Nocedal and Wright, algorithms 3.5 and
 * 3.6). */
#ifndef FV_OPTIM_LBFGS_H
#define FV_OPTIM_LBFGS_H

#include "base/base.h"

/* Writes the gradient at x and returns the value. */
typedef double fv__objective(void *context, double *gradient, const double *x);

typedef struct fv__lbfgs {
    int64_t n;
    int history; /* pairs kept */
    int max_rounds;
    double tolerance; /* largest |gradient| to stop at */
} fv__lbfgs;

/* Improves x in place. *rounds: how many it took. FV_INTERRUPTED after fv_interrupt(). */
fv_status fv__lbfgs_minimize(const fv__lbfgs *how, double *x, fv__objective *f, void *context, int *rounds);

#endif
