/* A tensor as (batch, head, row, column) with strides in elements, for the real type R; axes of size 1 that broadcast
 * have stride 0. Included by the engines, which define R and T(name). */

typedef struct T(view) {
    R *data;
    int64_t b, h, l, d;
} T(view);

static inline T(view) T(view_of)(const fv_tensor *t) {
    if (!t->rank) return (T(view)){0};
    const int64_t *s = t->stride;
    T(view) v = {t->data, t->dim[0] == 1 ? 0 : s[0], t->dim[1] == 1 ? 0 : s[1], t->dim[2] == 1 ? 0 : s[2], 0};
    if (t->rank > 3) v.d = t->dim[3] == 1 ? 0 : s[3];
    return v;
}

static inline R *T(at)(const T(view) * v, int64_t b, int64_t h, int64_t l) {
    return v->data + b * v->b + h * v->h + l * v->l;
}

static inline R *T(carve)(char **at, int64_t count) {
    const size_t bytes = fv__attn_lines(count, sizeof(R));
    R *p = fv__region_guard(*at, bytes);
    *at += bytes;
    return p;
}

/* Zeroes one (batch, head) slice of a gradient. */
static inline void T(zero_task)(void *context, int64_t index, int worker) {
    const fv_tensor *t = context;
    (void)worker;
    R *p = (R *)t->data + index / t->dim[1] * t->stride[0] + index % t->dim[1] * t->stride[1];
    for (int64_t l = 0; l < t->dim[2]; l++) {
        R *row = p + l * t->stride[2];
        if (t->stride[3] == 1)
            memset(row, 0, (size_t)t->dim[3] * sizeof(R));
        else
            for (int64_t d = 0; d < t->dim[3]; d++) row[d * t->stride[3]] = 0;
    }
}
static inline void T(zero)(const fv_tensor *t) {
    if (t->rank) fv__parallel_for(t->dim[0] * t->dim[1], T(zero_task), (void *)t);
}
