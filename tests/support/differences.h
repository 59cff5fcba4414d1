/* Derivatives from differences of a function of many numbers in double. */
#ifndef FV_TESTS_DIFFERENCES_H
#define FV_TESTS_DIFFERENCES_H

typedef double loss_fn(void *context);

/* By how much the loss grows with *x, which is put back: (f(x+h) - f(x-h)) / 2h. */
static inline double central_difference(loss_fn *loss, void *context, double *x, double h) {
    const double keep = *x;
    *x = keep + h;
    const double high = loss(context);
    *x = keep - h;
    const double low = loss(context);
    *x = keep;
    return (high - low) / (2 * h);
}

/* Richardson: three steps, and the errors of order h^2 and h^4 cancel. `rough`, if any, gets the three differences. */
static inline double richardson(loss_fn *loss, void *context, double *x, double h, double rough[3]) {
    double d[3];
    for (int i = 0; i < 3; i++) d[i] = central_difference(loss, context, x, h / (1 << i));
    for (int i = 0; rough && i < 3; i++) rough[i] = d[i];
    const double first = (4 * d[1] - d[0]) / 3, second = (4 * d[2] - d[1]) / 3;
    return (16 * second - first) / 15;
}

#endif
