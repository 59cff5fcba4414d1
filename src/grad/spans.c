/* Helpers of the operations: work in pieces, and sums of strided tensors. */
#include "grad/graph.h"

#include "simd/simd.h"

typedef struct spans {
    fv__span_fn *fn;
    void *context;
    int64_t n, piece;
} spans;

static void one_piece(void *context, int64_t index, int worker) {
    (void)worker;
    const spans *s = context;
    int64_t start = index * s->piece, left = s->n - start;
    s->fn(s->context, start, left < s->piece ? left : s->piece);
}

void fv__spans(int64_t n, int64_t piece, fv__span_fn *fn, void *context) {
    if (n <= 0) return;
    if (n <= piece) {
        fn(context, 0, n);
        return;
    }
    spans s = {fn, context, n, piece};
    fv__parallel_for((n + piece - 1) / piece, one_piece, &s);
}

/* ---- strided sums */

typedef struct strided {
    const fv_tensor *y, *x;
    bool overwrite;
} strided;

static void add_row(const strided *s, int64_t y_at, int64_t x_at) {
    const fv_tensor *y = s->y, *x = s->x;
    size_t size = fv_dtype_size(y->dtype);
    int last = y->rank - 1;
    int64_t n = y->dim[last], sy = y->stride[last], sx = x->stride[last];
    void *to = fv__at(y->data, y_at, size);
    const void *from = fv__at(x->data, x_at, size);
    if (sy == 1 && sx == 1) {
        if (s->overwrite)
            FV__CALL(y->dtype, scale, to, 1, from, n);
        else
            FV__CALL(y->dtype, axpy, to, 1, from, n);
    } else if (y->dtype == FV_F32) {
        float *a = to;
        const float *b = from;
        for (int64_t i = 0; i < n; i++) a[i * sy] = (s->overwrite ? 0 : a[i * sy]) + b[i * sx];
    } else {
        double *a = to;
        const double *b = from;
        for (int64_t i = 0; i < n; i++) a[i * sy] = (s->overwrite ? 0 : a[i * sy]) + b[i * sx];
    }
}

static void add_rows(void *context, int64_t start, int64_t count) {
    const strided *s = context;
    for (int64_t row = start; row < start + count; row++) {
        int64_t rest = row, y_at = 0, x_at = 0;
        for (int axis = s->y->rank - 2; axis >= 0; axis--) {
            int64_t i = rest % s->y->dim[axis];
            rest /= s->y->dim[axis];
            y_at += i * s->y->stride[axis];
            x_at += i * s->x->stride[axis];
        }
        add_row(s, y_at, x_at);
    }
}

void fv__accumulate(const fv_tensor *y, const fv_tensor *x, bool overwrite) {
    strided s = {y, x, overwrite};
    int64_t n = fv_tensor_count(y), last = y->dim[y->rank - 1];
    if (n <= 0) return;
    if (fv_tensor_contiguous(y) && fv_tensor_contiguous(x)) { /* one long row, cut into pieces of equal length */
        int64_t width = last >= 64 ? last : n % 1024 == 0 ? 1024 : last;
        fv_tensor flat_y = fv_tensor_2d(y->data, y->dtype, n / width, width);
        fv_tensor flat_x = fv_tensor_2d(x->data, x->dtype, n / width, width);
        s = (strided){&flat_y, &flat_x, overwrite};
        fv__spans(n / width, fv__piece_rows(width), add_rows, &s);
        return;
    }
    fv__spans(n / last, fv__piece_rows(last), add_rows, &s);
}
