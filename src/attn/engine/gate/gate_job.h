/* What the gates share for the real type R: rows of x and y, parameters without gaps. Included with R, T(name) and SIMD
 * defined. */

/* A tensor as (batch, head, row); the last axis has stride 1. */
typedef struct T(view) {
    R *data;
    int64_t b, h, l;
} T(view);

static T(view) T(view_of)(const fv_tensor *t) {
    return t->rank ? (T(view)){t->data, t->stride[0], t->stride[1], t->stride[2]} : (T(view)){0};
}

static inline R *T(at)(const T(view) * v, int64_t b, int64_t h, int64_t l) {
    return v->data + b * v->b + h * v->h + l * v->l;
}

static void T(zero_rows)(const SIMD *simd, const T(view) * v, const fv__gate_rows *r, int64_t head, int64_t n) {
    for (int64_t i = r->live; v->data && i < r->rows; i++) simd->fill(T(at)(v, r->batch, head, r->row + i), 0, n);
}

/* The elements of a tensor of up to three axes in row-major order, and back. */
static void T(gather)(R *to, const fv_tensor *t) {
    const R *from = t->data;
    const int64_t n1 = t->rank > 1 ? t->dim[1] : 1, n2 = t->rank > 2 ? t->dim[2] : 1;
    for (int64_t i = 0; i < t->dim[0] * n1 * n2; i++)
        to[i] = from[i / n2 / n1 * t->stride[0] + (t->rank > 1 ? i / n2 % n1 * t->stride[1] : 0) +
                     (t->rank > 2 ? i % n2 * t->stride[2] : 0)];
}

static inline void T(put)(const fv_tensor *t, int64_t i, int64_t j, int64_t k, double value) {
    R *to = t->data;
    to[i * t->stride[0] + (t->rank > 1 ? j * t->stride[1] : 0) + (t->rank > 2 ? k * t->stride[2] : 0)] = (R)value;
}
