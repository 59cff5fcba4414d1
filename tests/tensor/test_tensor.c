/* tensor: types and their conversion, views, copies between layouts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"
#include "fovea/tensor.h"
#include "tensor/dtype.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void types_have_size_and_name(void **state) {
    (void)state;
    static const size_t sizes[FV_DTYPES] = {4, 8, 2, 2, 1, 1, 2, 2, 4, 4, 8, 8, 1};
    for (int i = 0; i < FV_DTYPES; i++) {
        assert_int_equal(fv_dtype_size((fv_dtype)i), sizes[i]);
        assert_true(strlen(fv_dtype_name((fv_dtype)i)) > 1);
    }
    assert_string_equal(fv_dtype_name(FV_BF16), "bf16");
    assert_int_equal(fv_dtype_size((fv_dtype)99), 0);
    assert_string_equal(fv_dtype_name((fv_dtype)99), "unknown");
}

static void views_describe_memory(void **state) {
    (void)state;
    float data[2 * 3 * 4 * 5];
    fv_tensor t = fv_bhld(data, FV_F32, 2, 3, 4, 5), u = fv_blhd(data, FV_F32, 2, 4, 3, 5);
    assert_true(t.stride[0] == 60 && t.stride[1] == 20 && t.stride[2] == 5 && t.stride[3] == 1);
    assert_true(u.dim[0] == 2 && u.dim[1] == 3 && u.dim[2] == 4 && u.dim[3] == 5);
    assert_true(u.stride[0] == 60 && u.stride[1] == 5 && u.stride[2] == 15 && u.stride[3] == 1);
    assert_true(fv_tensor_contiguous(&t) && !fv_tensor_contiguous(&u));
    assert_true(fv_tensor_same_shape(&t, &u));
    assert_int_equal(fv_tensor_count(&t), 120);
    char text[64];
    assert_int_equal(fv_tensor_describe(&t, text, sizeof text), 12);
    assert_string_equal(text, "f32[2,3,4,5]");
    assert_int_equal(fv_tensor_describe(&t, text, 5), 12);
    assert_string_equal(text, "f32[");
    fv_tensor scalar = fv_tensor_of(data, FV_F64, 0, NULL);
    assert_int_equal(fv_tensor_count(&scalar), 1);
    fv_tensor_describe(&scalar, text, sizeof text);
    assert_string_equal(text, "f64[]");
}

static void slices_stay_inside(void **state) {
    (void)state;
    int32_t data[24];
    for (int i = 0; i < 24; i++) data[i] = i;
    fv_tensor t = fv_tensor_of(data, FV_I32, 3, (int64_t[]){2, 3, 4});
    fv_tensor s = fv_tensor_slice(fv_tensor_slice(t, 1, 1, 2), 2, 3, 1);
    assert_true(s.dim[0] == 2 && s.dim[1] == 2 && s.dim[2] == 1);
    assert_true(fv_tensor_get(&s, (int64_t[]){1, 1, 0}) == 23);
    assert_true(fv_tensor_get(&s, (int64_t[]){0, 0, 0}) == 7);
    static const struct {
        int axis;
        int64_t start, count;
    } wrong[] = {{-1, 0, 1}, {3, 0, 1}, {1, -1, 1}, {1, 0, -1},
                 {1, 0, 4},  {1, 3, 1}, {1, 4, 0},  {1, INT64_MAX, INT64_MAX}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        fv_tensor e = fv_tensor_slice(t, wrong[i].axis, wrong[i].start, wrong[i].count);
        assert_int_equal(fv_tensor_count(&e), 0);
        assert_ptr_equal(e.data, data);
    }
    fv_tensor at_end = fv_tensor_slice(t, 1, 3, 0);
    assert_int_equal(fv_tensor_count(&at_end), 0);
    fv_tensor scalar = fv_tensor_of(data, FV_I32, 0, NULL), e = fv_tensor_slice(scalar, 0, 0, 1);
    assert_int_equal(fv_tensor_count(&e), 0);
    e = fv_tensor_transpose(t, 0, 3);
    assert_int_equal(fv_tensor_count(&e), 0);
    e = fv_tensor_slice(fv_tensor_1d(NULL, FV_F32, 5), 0, 2, 2);
    assert_null(e.data);
}

static void counts_do_not_wrap(void **state) {
    (void)state;
    fv_tensor t = fv_tensor_of(NULL, FV_F32, 3, (int64_t[]){1LL << 31, 1LL << 31, 4});
    assert_int_equal(fv_tensor_count(&t), -1);
    assert_false(fv_tensor_contiguous(&t) && fv_tensor_count(&t) >= 0);
    t = fv_tensor_of(NULL, FV_F32, 2, (int64_t[]){-1, 4});
    assert_int_equal(fv_tensor_count(&t), -1);
}

/* Every f16 and bf16 pattern survives the way through double; NaN stays NaN. */
static void small_floats_are_exact(void **state) {
    (void)state;
    for (int dtype = FV_BF16; dtype <= FV_F16; dtype++)
        for (uint32_t bits = 0; bits < 65536; bits++) {
            uint16_t in = (uint16_t)bits, out = 0;
            double value;
            fv__load_f64(&value, &in, (fv_dtype)dtype, 1, 1);
            fv__store_f64(&out, (fv_dtype)dtype, 1, &value, 1);
            bool nan = dtype == FV_BF16 ? (bits & 0x7FFF) > 0x7F80 : (bits & 0x7FFF) > 0x7C00;
            assert_true(nan == (isnan(value) != 0));
            if (!nan) assert_int_equal(in, out);
        }
}

/* Nearest even, once: between two neighbours the midpoint goes to the even one, and a hair beyond goes up. */
static void small_floats_round_to_nearest_even(void **state) {
    (void)state;
    for (int dtype = FV_BF16; dtype <= FV_F16; dtype++) {
        uint16_t infinity = dtype == FV_BF16 ? 0x7F80 : 0x7C00;
        for (uint16_t bits = 0; bits + 1 < infinity; bits++) {
            uint16_t pair[2] = {bits, (uint16_t)(bits + 1)}, out[3];
            double v[2];
            fv__load_f64(v, pair, (fv_dtype)dtype, 1, 2);
            double middle = (v[0] + v[1]) / 2, points[3] = {middle, nextafter(middle, 0), nextafter(middle, INFINITY)};
            fv__store_f64(out, (fv_dtype)dtype, 1, points, 3);
            assert_int_equal(out[0], bits & 1 ? bits + 1 : bits);
            assert_int_equal(out[1], bits);
            assert_int_equal(out[2], bits + 1);
        }
        double largest, points[2];
        uint16_t top = (uint16_t)(infinity - 1), below, out[2];
        below = (uint16_t)(top - 1);
        double under;
        fv__load_f64(&largest, &top, (fv_dtype)dtype, 1, 1);
        fv__load_f64(&under, &below, (fv_dtype)dtype, 1, 1);
        points[0] = largest + (largest - under) / 2; /* the midpoint to the first number that does not exist */
        points[1] = nextafter(points[0], 0);
        fv__store_f64(out, (fv_dtype)dtype, 1, points, 2);
        assert_int_equal(out[0], infinity);
        assert_int_equal(out[1], top);
    }
}

static void fast_bf16_is_the_slow_one(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 200000; i++) {
        uint32_t bits = fv__random_u32(1, 1, i);
        float f, back;
        uint16_t fast, slow;
        memcpy(&f, &bits, 4);
        double d = (double)f;
        fv__bf16_from_f32(&fast, &f, 1);
        fv__store_f64(&slow, FV_BF16, 1, &d, 1);
        fv__f32_from_bf16(&back, &fast, 1);
        if (isnan(f))
            assert_true(isnan(back));
        else
            assert_int_equal(fast, slow);
    }
}

static void integers_stay_in_range(void **state) {
    (void)state;
    static const double in[] = {-1e30, -129.9, -1.9, -0.0, 0.9, 127.9, 255.9, 1e30, NAN, INFINITY};
    int8_t i8[10];
    uint8_t u8[10], b[10];
    int64_t i64[10];
    uint64_t u64[10];
    fv__store_f64(i8, FV_I8, 1, in, 10);
    fv__store_f64(u8, FV_U8, 1, in, 10);
    fv__store_f64(i64, FV_I64, 1, in, 10);
    fv__store_f64(u64, FV_U64, 1, in, 10);
    fv__store_f64(b, FV_BOOL, 1, in, 10);
    static const int8_t want_i8[] = {-128, -128, -1, 0, 0, 127, 127, 127, 0, 127};
    static const uint8_t want_u8[] = {0, 0, 0, 0, 0, 127, 255, 255, 0, 255}, want_b[] = {1, 1, 1, 0, 1, 1, 1, 1, 1, 1};
    assert_memory_equal(i8, want_i8, 10);
    assert_memory_equal(u8, want_u8, 10);
    assert_memory_equal(b, want_b, 10);
    assert_true(i64[0] == INT64_MIN && i64[7] == INT64_MAX && u64[0] == 0 && u64[7] == UINT64_MAX);
    int64_t big = INT64_MAX - 1, copied = 0;
    fv_tensor from = fv_tensor_1d(&big, FV_I64, 1), to = fv_tensor_1d(&copied, FV_I64, 1);
    assert_int_equal(fv_tensor_copy(&to, &from), FV_OK);
    assert_true(copied == big);
    uint64_t wide = 0;
    to = fv_tensor_1d(&wide, FV_U64, 1);
    assert_int_equal(fv_tensor_copy(&to, &from), FV_OK); /* through int64, not through double */
    assert_true(wide == (uint64_t)big);
}

/* A tensor with random strides, some negative or with gaps, over `memory`; its elements do not overlap. */
static fv_tensor random_layout(char *memory, fv_dtype dtype, int rank, const int64_t *dim, uint64_t seed) {
    int64_t order[FV_MAX_DIMS], step = 1, start = 0;
    for (int i = 0; i < rank; i++) order[i] = i;
    fv__random_shuffle(seed, 1, order, rank);
    fv_tensor t = fv_tensor_of(memory, dtype, rank, dim);
    for (int i = 0; i < rank; i++) {
        int axis = (int)order[i];
        step *= 1 + fv__random_below(seed, 2, (uint64_t)i, 2);
        t.stride[axis] = step;
        step *= dim[axis] > 0 ? dim[axis] : 1;
        if (fv__random_below(seed, 3, (uint64_t)i, 3)) continue;
        start += t.stride[axis] * (dim[axis] - 1);
        t.stride[axis] = -t.stride[axis];
    }
    t.data = memory + start * (int64_t)fv_dtype_size(dtype);
    return t;
}

static bool next_index(const fv_tensor *t, int64_t *index) {
    for (int i = t->rank - 1; i >= 0; i--) {
        if (++index[i] < t->dim[i]) return true;
        index[i] = 0;
    }
    return false;
}

/* Copy against element by element, over random shapes, layouts and all pairs of types. */
static void copies_move_every_element(void **state) {
    (void)state;
    enum { BYTES = 64 * 1024 };
    char *a = fv__alloc(BYTES), *b = fv__alloc(BYTES);
    for (uint64_t check_case = 0; check_case < 3000; check_case++) {
        int rank = (int)fv__random_below(check_case, 1, 0, 5);
        int64_t dim[FV_MAX_DIMS], index[FV_MAX_DIMS] = {0};
        for (int i = 0; i < rank; i++)
            dim[i] = 1 + fv__random_below(check_case, 2, (uint64_t)i, i == rank - 1 && rank < 3 ? 40 : 5);
        fv_dtype ta = (fv_dtype)fv__random_below(check_case, 3, 0, FV_DTYPES),
                 tb = (fv_dtype)fv__random_below(check_case, 3, 1, FV_DTYPES);
        fv_tensor from = random_layout(a, ta, rank, dim, check_case * 2),
                  to = random_layout(b, tb, rank, dim, check_case * 2 + 1);
        memset(a, 0, BYTES);
        memset(b, 0x55, BYTES);
        int n = 0;
        do fv_tensor_set(&from, index, n++ % 100);
        while (next_index(&from, index));
        assert_int_equal(fv_tensor_copy(&to, &from), FV_OK);
        n = 0;
        do {
            double expected = n++ % 100;
            if (ta == FV_BOOL || tb == FV_BOOL) expected = expected != 0;
            if (fv_tensor_get(&to, index) != expected) fail_msg("check_case %d", (int)check_case);
        } while (next_index(&to, index));
        size_t size = fv_dtype_size(tb), touched = 0;
        for (size_t i = 0; i + size <= BYTES; i += size) {
            bool same = true;
            for (size_t k = 0; k < size; k++) same = same && b[i + k] == 0x55;
            touched += !same;
        }
        int holds_pattern = tb == FV_I8 || tb == FV_U8;                      /* 0x55 = 85 is also a value there */
        if (!holds_pattern) assert_int_equal(touched, fv_tensor_count(&to)); /* nothing else was written */
    }
    fv__free(a);
    fv__free(b);
}

static void long_rows_are_copied_in_pieces(void **state) {
    (void)state;
    enum { N = 5000 };
    float *from = fv__alloc(N * 4);
    double *to = fv__alloc(N * 8);
    for (int i = 0; i < N; i++) from[i] = (float)i / 3;
    fv_tensor a = fv_tensor_1d(from, FV_F32, N), b = fv_tensor_1d(to, FV_F64, N);
    assert_int_equal(fv_tensor_copy(&b, &a), FV_OK);
    for (int i = 0; i < N; i++) assert_true(to[i] == (double)from[i]);
    fv__free(from);
    fv__free(to);
}

static void broadcasts_and_fills(void **state) {
    (void)state;
    float one = 3, many[12];
    fv_tensor from = fv_tensor_2d(&one, FV_F32, 3, 4), to = fv_tensor_2d(many, FV_F32, 3, 4);
    from.stride[0] = from.stride[1] = 0;
    assert_int_equal(fv_tensor_copy(&to, &from), FV_OK);
    for (int i = 0; i < 12; i++) assert_true(many[i] == 3);
    fv_tensor column = fv_tensor_slice(to, 1, 2, 1);
    fv_tensor_fill(&column, -1);
    for (int i = 0; i < 12; i++) assert_true(many[i] == (i % 4 == 2 ? -1 : 3));
    fv_tensor none = fv_tensor_slice(to, 0, 0, 0), absent = {0};
    fv_tensor_fill(&none, 7);
    fv_tensor_fill(&absent, 7);
    for (int i = 0; i < 12; i++) assert_true(many[i] != 7);
}

static void copies_refuse_with_a_reason(void **state) {
    (void)state;
    float data[12];
    fv_tensor a = fv_tensor_2d(data, FV_F32, 3, 4), b = fv_tensor_2d(data, FV_F32, 4, 3),
              absent = fv_tensor_2d(NULL, FV_F32, 3, 4);
    assert_int_equal(fv_tensor_copy(&a, &b), FV_USAGE);
    assert_string_equal(fv_message(), "tensor copy: the shapes differ\n  expected f32[3,4]\n  found:   f32[4,3]");
    assert_int_equal(fv_tensor_copy(&a, &absent), FV_USAGE);
    assert_string_equal(fv_message(), "tensor copy: f32[3,4]\n  expected data\n  found:   NULL");
    fv_tensor huge = fv_tensor_2d(data, FV_F32, INT64_MAX, 4);
    assert_int_equal(fv_tensor_copy(&huge, &huge), FV_USAGE);
    fv_tensor empty = fv_tensor_2d(NULL, FV_F32, 0, 4);
    assert_int_equal(fv_tensor_copy(&empty, &empty), FV_OK);
}

/* A rank that a caller filled wrongly is no shape; nothing reads beyond the arrays. */
static void ranks_are_not_trusted(void **state) {
    (void)state;
    float data[4] = {1, 2, 3, 4};
    static const int ranks[] = {-1, FV_MAX_DIMS + 1, 1000000, INT32_MAX, INT32_MIN};
    const fv_tensor good = fv_tensor_2d(data, FV_F32, 2, 2);
    char text[64], expected[64];
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) {
        fv_tensor t = good;
        t.rank = ranks[i];
        snprintf(expected, sizeof expected, "f32 of rank %d, at most 6", ranks[i]);
        assert_int_equal(fv_tensor_describe(&t, text, sizeof text), strlen(expected));
        assert_string_equal(text, expected);
        assert_int_equal(fv_tensor_count(&t), -1);
        assert_false(fv_tensor_contiguous(&t));
        assert_false(fv_tensor_same_shape(&t, &t));
        fv_tensor cut = fv_tensor_slice(t, 0, 0, 1), turned = fv_tensor_transpose(t, 0, 1);
        assert_int_equal(fv_tensor_count(&cut), 0);
        assert_int_equal(fv_tensor_count(&turned), 0);
        assert_int_equal(fv_tensor_copy(&t, &t), FV_USAGE);
        fv_tensor_fill(&t, 9);
        assert_true(data[0] == 1 && data[3] == 4);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_have_size_and_name),  cmocka_unit_test(views_describe_memory),
        cmocka_unit_test(slices_stay_inside),        cmocka_unit_test(counts_do_not_wrap),
        cmocka_unit_test(small_floats_are_exact),    cmocka_unit_test(small_floats_round_to_nearest_even),
        cmocka_unit_test(fast_bf16_is_the_slow_one), cmocka_unit_test(integers_stay_in_range),
        cmocka_unit_test(copies_move_every_element), cmocka_unit_test(long_rows_are_copied_in_pieces),
        cmocka_unit_test(broadcasts_and_fills),      cmocka_unit_test(copies_refuse_with_a_reason),
        cmocka_unit_test(ranks_are_not_trusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
