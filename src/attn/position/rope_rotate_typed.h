/* One task of the rotation for the real type R, which is f64 for f64 tensors and f32 for all others. Included by
 * rope_rotate.c, twice: no guard. */

/* ---- rows of any dtype and stride as R */

static bool T(lies_plain)(const fv_tensor *t) { return t->dtype == TYPE && (t->dim[3] <= 1 || t->stride[3] == 1); }

static const char *T(row_of)(const fv_tensor *t, int64_t b, int64_t h, int64_t l) {
    return (const char *)t->data +
           (b * t->stride[0] + h * t->stride[1] + l * t->stride[2]) * (int64_t)fv_dtype_size(t->dtype);
}

/* n <= 2 PAIRS elements from column c on */
static void T(load)(R *to, const fv_tensor *t, const char *row, int64_t step, int64_t c, int64_t n) {
    const char *at = row + c * step * (int64_t)fv_dtype_size(t->dtype);
    double wide[2 * PAIRS];
    if (t->dtype == TYPE && step == 1) {
        memcpy(to, at, (size_t)n * sizeof(R));
        return;
    }
    if (t->dtype == FV_BF16 && step == 1) {
        SIMD_NOW()->from_bf16(to, (const uint16_t *)at, n);
        return;
    }
    if (t->dtype == FV_F16 && step == 1) {
        SIMD_NOW()->from_f16(to, (const uint16_t *)at, n);
        return;
    }
    fv__load_f64(wide, at, t->dtype, step, n);
    for (int64_t i = 0; i < n; i++) to[i] = (R)wide[i];
}

static void T(store)(const fv_tensor *t, const char *row, int64_t step, int64_t c, const R *from, int64_t n) {
    char *at = (char *)row + c * step * (int64_t)fv_dtype_size(t->dtype);
    double wide[2 * PAIRS];
    if (t->dtype == FV_BF16 && step == 1) {
        SIMD_NOW()->to_bf16((uint16_t *)at, from, n);
        return;
    }
    if (t->dtype == FV_F16 && step == 1) {
        SIMD_NOW()->to_f16((uint16_t *)at, from, n);
        return;
    }
    for (int64_t i = 0; i < n; i++) wide[i] = (double)from[i];
    fv__store_f64(at, t->dtype, step, wide, n);
}

/* ---- the table of a block */

typedef struct T(block) {
    const fv__rope_call *call;
    const SIMD *simd;
    int64_t b, l0, rows, p0, pairs;
    const R *cosine, *sine; /* of row l0, pair p0 */
    int64_t ld;             /* from row to row of both */
    R sign;
    R own_c[TABLE], own_s[TABLE]; /* when the table is of another type, or its rows are in another order */
} T(block);

/* Where row l begins. */
static const char *T(table_row)(const fv__rope_table *table, const fv_tensor *t, int64_t b, int64_t l) {
    int64_t row = table->first + l;
    if (table->position.rank) row = fv__rope_position(&table->position, b, l);
    const int64_t at = t->rank == 3 ? (t->dim[0] == 1 ? 0 : b * t->stride[0]) + l * t->stride[1] : row * t->stride[0];
    return (const char *)t->data + at * (int64_t)fv_dtype_size(t->dtype);
}

static void T(load_table)(T(block) * k) {
    const fv__rope_table *table = k->call->table;
    const fv_tensor *c = &table->cosine, *s = &table->sine;
    const int64_t last = c->rank - 1;
    k->ld = c->stride[last - 1], k->cosine = (const R *)T(table_row)(table, c, k->b, k->l0) + k->p0,
    k->sine = (const R *)T(table_row)(table, s, k->b, k->l0) + k->p0;
    if (c->dtype == TYPE && s->dtype == TYPE && !table->position.rank && c->stride[last] == 1 && s->stride[last] == 1 &&
        s->stride[last - 1] == k->ld)
        return;
    for (int64_t r = 0; r < k->rows; r++) {
        const char *row_c = T(table_row)(table, c, k->b, k->l0 + r), *row_s = T(table_row)(table, s, k->b, k->l0 + r);
        T(load)(k->own_c + r * k->pairs, c, row_c, c->stride[last], k->p0, k->pairs);
        T(load)(k->own_s + r * k->pairs, s, row_s, s->stride[last], k->p0, k->pairs);
    }
    k->cosine = k->own_c, k->sine = k->own_s, k->ld = k->pairs;
}

/* ---- rotating */

/* The rows of one head where they lie. */
static void T(rotate_plain)(const T(block) * k, int64_t h) {
    const fv__rope_call *c = k->call;
    const R *from = (const R *)T(row_of)(c->from, k->b, h, k->l0);
    R *to = (R *)T(row_of)(c->to, k->b, h, k->l0);
    const int64_t ld_from = c->from->stride[2], ld_to = c->to->stride[2];
    if (c->pairing == FV_ROPE_INTERLEAVED)
        k->simd->rope_interleaved(to + 2 * k->p0, ld_to, from + 2 * k->p0, ld_from, k->cosine, k->sine, k->ld, k->rows,
                                  k->pairs, k->sign, c->add);
    else
        k->simd->rope_half(to + k->p0, ld_to, from + k->p0, ld_from, c->columns / 2, k->cosine, k->sine, k->ld, k->rows,
                           k->pairs, k->sign, c->add);
}

/* Through a buffer: other dtypes and strides. */
static void T(rotate_buffered)(const T(block) * k, const char *from, const char *to, int64_t r) {
    const fv__rope_call *c = k->call;
    const R *cosine = k->cosine + r * k->ld, *sine = k->sine + r * k->ld;
    const int64_t in = c->from->stride[3], out = c->to->stride[3], half = c->columns / 2;
    R x[2 * PAIRS], y[2 * PAIRS] = {0};
    if (c->pairing == FV_ROPE_INTERLEAVED) {
        T(load)(x, c->from, from, in, 2 * k->p0, 2 * k->pairs);
        if (c->add) T(load)(y, c->to, to, out, 2 * k->p0, 2 * k->pairs);
        k->simd->rope_interleaved(y, 0, x, 0, cosine, sine, 0, 1, k->pairs, k->sign, c->add);
        T(store)(c->to, to, out, 2 * k->p0, y, 2 * k->pairs);
        return;
    }
    for (int64_t side = 0; side < 2; side++) {
        T(load)(x + side * PAIRS, c->from, from, in, k->p0 + side * half, k->pairs);
        if (c->add) T(load)(y + side * PAIRS, c->to, to, out, k->p0 + side * half, k->pairs);
    }
    k->simd->rope_half(y, 0, x, 0, PAIRS, cosine, sine, 0, 1, k->pairs, k->sign, c->add);
    for (int64_t side = 0; side < 2; side++) T(store)(c->to, to, out, k->p0 + side * half, y + side * PAIRS, k->pairs);
}

/* The columns that are not rotated. */
static void T(pass)(const fv__rope_call *c, const char *from, const char *to) {
    R x[2 * PAIRS], y[2 * PAIRS];
    if (from == to && !c->add) return;
    for (int64_t i = c->columns; i < c->to->dim[3]; i += 2 * PAIRS) {
        const int64_t n = c->to->dim[3] - i < 2 * PAIRS ? c->to->dim[3] - i : 2 * PAIRS;
        T(load)(x, c->from, from, c->from->stride[3], i, n);
        if (c->add) T(load)(y, c->to, to, c->to->stride[3], i, n);
        for (int64_t j = 0; c->add && j < n; j++) x[j] += y[j];
        T(store)(c->to, to, c->to->stride[3], i, x, n);
    }
}

static void T(rotate_task)(void *context, int64_t index, int worker) {
    const fv__rope_call *c = context;
    const int64_t length = c->to->dim[2], blocks = (length + c->rows - 1) / c->rows, l0 = index % blocks * c->rows;
    T(block) k; /* not zeroed: it is filled as far as it is read */
    const bool plain = T(lies_plain)(c->from) && T(lies_plain)(c->to);
    (void)worker;
    k.call = c, k.simd = SIMD_NOW(), k.b = index / blocks, k.l0 = l0, k.sign = c->backward ? -1 : 1;
    k.rows = length - l0 < c->rows ? length - l0 : c->rows;
    for (k.p0 = 0; k.p0 < c->columns / 2; k.p0 += PAIRS) {
        k.pairs = c->columns / 2 - k.p0 < PAIRS ? c->columns / 2 - k.p0 : PAIRS;
        T(load_table)(&k);
        for (int64_t h = 0; h < c->to->dim[1]; h++)
            if (plain)
                T(rotate_plain)(&k, h);
            else
                for (int64_t r = 0; r < k.rows; r++)
                    T(rotate_buffered)(&k, T(row_of)(c->from, k.b, h, l0 + r), T(row_of)(c->to, k.b, h, l0 + r), r);
    }
    for (int64_t h = 0; h < c->to->dim[1] && c->columns < c->to->dim[3]; h++)
        for (int64_t r = 0; r < k.rows; r++)
            T(pass)(c, T(row_of)(c->from, k.b, h, l0 + r), T(row_of)(c->to, k.b, h, l0 + r));
}
