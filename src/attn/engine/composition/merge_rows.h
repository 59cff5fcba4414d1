/* The rows of merge.h for the real type R. */

static R *T(row)(const fv_tensor *t, const int64_t *at) {
    return (R *)t->data + at[0] * t->stride[0] + at[1] * t->stride[1] + at[2] * t->stride[2];
}

/* The weights of the parts in row `at`; returns LSE, -inf when no part sees a key: then all weights are 0. */
static double T(weigh)(const fv__parts *parts, const int64_t *at, double *weight) {
    double top = -INFINITY, sum = 0;
    for (int k = 0; k < parts->count; k++) {
        weight[k] = (double)*T(row)(&parts->lse[k], at);
        if (!(weight[k] <= top)) top = weight[k];
    }
    for (int k = 0; k < parts->count; k++) sum += weight[k] = top == -INFINITY ? 0 : exp(weight[k] - top);
    for (int k = 0; k < parts->count && top != -INFINITY; k++) weight[k] /= sum;
    return top == -INFINITY ? top : top + log(sum);
}

/* A part of weight 0 is not read: it may hold anything. */
static void T(add_parts)(const fv__parts *parts, const int64_t *at, const double *weight, R *out, int64_t width) {
    memset(out, 0, (size_t)width * sizeof(R));
    for (int k = 0; k < parts->count; k++) {
        const R w = (R)weight[k], *from = T(row)(&parts->out[k], at);
        if (w == 0) continue;
        for (int64_t d = 0; d < width; d++) out[d] += w * from[d];
    }
}

static double T(dot)(const R *a, const R *b, int64_t width) {
    double sum = 0;
    for (int64_t d = 0; d < width; d++) sum += (double)a[d] * (double)b[d];
    return sum;
}

static void T(scale)(R *to, double factor, const R *from, int64_t width) {
    for (int64_t d = 0; d < width; d++) to[d] = from && factor != 0 ? (R)factor * from[d] : 0;
}

static void T(forward_row)(const merge_job *j, const int64_t *at) {
    double weight[FV_MERGE_PARTS], lse = 0;
    if (!j->factor) lse = T(weigh)(j->parts, at, weight);
    T(add_parts)(j->parts, at, j->factor ? j->factor : weight, T(row)(j->out, at), j->out->dim[3]);
    if (!j->factor && j->lse->rank) *T(row)(j->lse, at) = (R)lse;
}

/* dO.(O_k - O) = dO.O_k - sum_m w_m dO.O_m */
static void T(lse_backward_row)(const merge_job *j, const int64_t *at) {
    const int64_t width = j->d->out[0].dim[3];
    double weight[FV_MERGE_PARTS], product[FV_MERGE_PARTS] = {0}, mean = 0;
    const R *d_out = j->out->rank ? T(row)(j->out, at) : NULL;
    T(weigh)(j->parts, at, weight);
    for (int k = 0; k < j->parts->count; k++) {
        if (d_out && weight[k] != 0) product[k] = T(dot)(d_out, T(row)(&j->parts->out[k], at), width);
        mean += weight[k] * product[k];
    }
    const double d_lse = j->lse->rank ? (double)*T(row)(j->lse, at) : 0;
    for (int k = 0; k < j->parts->count; k++) {
        T(scale)(T(row)(&j->d->out[k], at), weight[k], d_out, width);
        *T(row)(&j->d->lse[k], at) = weight[k] == 0 ? 0 : (R)(weight[k] * (d_lse + product[k] - mean));
    }
}

static void T(factor_backward_row)(const merge_job *j, const int64_t *at, double *sums) {
    const int64_t width = j->out->dim[3];
    const R *d_out = T(row)(j->out, at);
    for (int k = 0; k < j->parts->count; k++) {
        T(scale)(T(row)(&j->d->out[k], at), j->factor[k], d_out, width);
        sums[k] += T(dot)(d_out, T(row)(&j->parts->out[k], at), width);
    }
}

static void T(row_of_task)(const merge_job *j, const int64_t *at, double *sums) {
    if (!j->d)
        T(forward_row)(j, at);
    else if (j->factor)
        T(factor_backward_row)(j, at, sums);
    else
        T(lse_backward_row)(j, at);
}
