/* The one product all tiles are made of. A block of MR x NV vectors of C stays in registers while k runs; elements of A
 * are broadcast, so A may be rows (scores) or columns (sums of values) of the caller's own tensors and nothing is
 * copied. */

#if VL == 16 /* 24 accumulators, 2 of B and 1 of A in 32 registers */
enum { MR = 12, NV = 2 };
#elif VL == 4 /* 16, 2 and up to 8 of 32: gcc loads the elements of A ahead, with 12 rows it runs out of registers */
enum { MR = 8, NV = 2 };
#elif VL == 8 /* 12, 2 and 1 of 16 */
enum { MR = 6, NV = 2 };
#elif !defined(FV_GEMM_ONCE)
enum { MR = 4, NV = 8 };
#endif
#define FV_GEMM_ONCE 1
#define INLINE static inline __attribute__((always_inline))

/* rows, vectors, masked and one of a_row, a_col are constants where this is inlined. */
INLINE void K(block)(R *c, int64_t ldc, const R *a, int64_t a_row, int64_t a_col, const R *b, int64_t ldb, int64_t k,
                     fv__gemm_mode mode, const int rows, const int vectors, const int64_t tail) {
    vr sum[MR][NV];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            const R *from = c + i * ldc + v * VL;
            sum[i][v] = mode == FV_GEMM_CONTINUE ? (tail ? v_loadn(from, tail) : v_load(from)) : v_set(0);
        }
    for (int64_t t = 0; t < k; t++) {
        vr column[NV];
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) column[v] = tail ? v_loadn(b + v * VL, tail) : v_load(b + v * VL);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            vr one = v_one(a + i * a_row);
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++) sum[i][v] = v_fma(one, column[v], sum[i][v]);
        }
        a += a_col, b += ldb;
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            R *to = c + i * ldc + v * VL;
            if (mode == FV_GEMM_ACCUMULATE) sum[i][v] = v_add(tail ? v_loadn(to, tail) : v_load(to), sum[i][v]);
            if (tail)
                v_storen(to, sum[i][v], tail);
            else
                v_store(to, sum[i][v]);
        }
}

/* The largest block that leaves no small rest: 16 rows are 8 + 8, not 12 + 4. */
INLINE int K(block_rows)(int64_t m) {
    if (m >= MR && !(MR == 12 && m == 16)) return MR;
    return m >= 8 && MR > 8 ? 8 : m >= 4 ? 4 : m >= 2 ? 2 : 1;
}

INLINE void K(panel)(R *c, int64_t ldc, const R *a, int64_t a_row, int64_t a_col, const R *b, int64_t ldb, int64_t m,
                     int64_t k, fv__gemm_mode mode, const int vectors, const int64_t tail) {
    while (m > 0) {
        const int rows = K(block_rows)(m);
        switch (rows) {
        case MR: K(block)(c, ldc, a, a_row, a_col, b, ldb, k, mode, MR, vectors, tail); break;
#if VL == 16
        case 8: K(block)(c, ldc, a, a_row, a_col, b, ldb, k, mode, 8, vectors, tail); break;
#endif
#if VL > 1
        case 4: K(block)(c, ldc, a, a_row, a_col, b, ldb, k, mode, 4, vectors, tail); break;
#endif
        case 2: K(block)(c, ldc, a, a_row, a_col, b, ldb, k, mode, 2, vectors, tail); break;
        default: K(block)(c, ldc, a, a_row, a_col, b, ldb, k, mode, 1, vectors, tail); break;
        }
        a += rows * a_row, c += rows * ldc, m -= rows;
    }
}

/* a_row and a_col as constants where they are 1: one base register instead of one per row */
static void K(panel_full)(R *c, int64_t ldc, const R *a, int64_t a_row, int64_t a_col, const R *b, int64_t ldb,
                          int64_t m, int64_t k, fv__gemm_mode mode) {
    if (a_row == 1)
        K(panel)(c, ldc, a, 1, a_col, b, ldb, m, k, mode, NV, 0);
    else
        K(panel)(c, ldc, a, a_row, 1, b, ldb, m, k, mode, NV, 0);
}
static void K(panel_one)(R *c, int64_t ldc, const R *a, int64_t a_row, int64_t a_col, const R *b, int64_t ldb,
                         int64_t m, int64_t k, fv__gemm_mode mode) {
    if (a_row == 1)
        K(panel)(c, ldc, a, 1, a_col, b, ldb, m, k, mode, 1, 0);
    else
        K(panel)(c, ldc, a, a_row, 1, b, ldb, m, k, mode, 1, 0);
}
#if VL > 1
static void K(panel_tail)(R *c, int64_t ldc, const R *a, int64_t a_row, int64_t a_col, const R *b, int64_t ldb,
                          int64_t m, int64_t k, fv__gemm_mode mode, int64_t tail) {
    if (a_row == 1)
        K(panel)(c, ldc, a, 1, a_col, b, ldb, m, k, mode, 1, tail);
    else
        K(panel)(c, ldc, a, a_row, 1, b, ldb, m, k, mode, 1, tail);
}
#endif

static void K(gemm)(R *c, int64_t ldc, const R *a, int64_t a_row, int64_t a_col, const R *b, int64_t ldb, int64_t m,
                    int64_t n, int64_t k, fv__gemm_mode mode) {
    for (; n >= NV * VL; n -= NV * VL, b += NV * VL, c += NV * VL)
        K(panel_full)(c, ldc, a, a_row, a_col, b, ldb, m, k, mode);
    for (; n >= VL; n -= VL, b += VL, c += VL) K(panel_one)(c, ldc, a, a_row, a_col, b, ldb, m, k, mode);
#if VL > 1
    if (n > 0) K(panel_tail)(c, ldc, a, a_row, a_col, b, ldb, m, k, mode, n);
#endif
}

static void K(gemm_masked)(R *c, int64_t ldc, const R *a, int64_t a_row, int64_t a_col, const R *b, int64_t ldb,
                           int64_t m, int64_t n, int64_t k, fv__gemm_mode mode) {
    for (int64_t row = 0; row < m; row++, c += ldc) FOR_VECTORS(n) {
            vr sum = mode == FV_GEMM_CONTINUE ? LOAD(c) : v_set(0);
            for (int64_t t = 0; t < k; t++) {
                const R factor = a[row * a_row + t * a_col];
                if (factor == 0) continue;
                vr column = LOAD(b + t * ldb);
                sum = v_select(v_eq(column, v_set(0)), sum, v_fma(v_set(factor), column, sum));
            }
            STORE(c, mode == FV_GEMM_ACCUMULATE ? v_add(LOAD(c), sum) : sum);
        }
}
