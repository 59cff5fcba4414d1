/* Element types: sizes, names, conversion. See dtype.h. */
#include "tensor/dtype.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} types[FV_DTYPES] = {
    [FV_F32] = {"f32", 4}, [FV_F64] = {"f64", 8}, [FV_BF16] = {"bf16", 2}, [FV_F16] = {"f16", 2}, [FV_I8] = {"i8", 1},
    [FV_U8] = {"u8", 1},   [FV_I16] = {"i16", 2}, [FV_U16] = {"u16", 2},   [FV_I32] = {"i32", 4}, [FV_U32] = {"u32", 4},
    [FV_I64] = {"i64", 8}, [FV_U64] = {"u64", 8}, [FV_BOOL] = {"bool", 1},
};

static bool known(fv_dtype dtype) { return (unsigned)dtype < FV_DTYPES; }

size_t fv_dtype_size(fv_dtype dtype) { return known(dtype) ? types[dtype].size : 0; }

const char *fv_dtype_name(fv_dtype dtype) { return known(dtype) ? types[dtype].name : "unknown"; }

bool fv__dtype_is_float(fv_dtype dtype) {
    return dtype == FV_F32 || dtype == FV_F64 || dtype == FV_BF16 || dtype == FV_F16;
}

/* ---- the 16-bit floats */

static double from_bf16(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return (double)value;
}

static double from_f16(uint16_t bits) {
    int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    double value = exponent == 31 ? (mantissa ? NAN : INFINITY)
                   : exponent     ? ldexp(1024 + mantissa, exponent - 25)
                                  : ldexp(mantissa, -24);
    return bits & 0x8000 ? -value : value;
}

/* A double as a 16-bit float with `mantissa` stored bits, rounded once, to nearest even. `lowest` is the exponent of
 * the smallest normal number, `highest` that of the largest. */
static uint16_t to_small(double value, int mantissa, int lowest, int highest) {
    uint16_t sign = signbit(value) ? 0x8000 : 0, infinity = (uint16_t)((unsigned)(highest - lowest + 2) << mantissa);
    if (isnan(value)) return sign | infinity | (uint16_t)(1u << (mantissa - 1));
    double magnitude = fabs(value);
    if (magnitude == 0) return sign;
    if (isinf(magnitude)) return sign | infinity;
    int exponent;
    frexp(magnitude, &exponent);
    exponent--; /* magnitude = 1.xxx * 2^exponent */
    if (exponent < lowest) exponent = lowest;
    /* In units of the last place: exact, so that the one rounding is rint's. A carry runs into the exponent bits. */
    double units = rint(ldexp(magnitude, mantissa - exponent));
    if (exponent > highest) return sign | infinity;
    unsigned bits = ((unsigned)(exponent - lowest) << mantissa) + (unsigned)units;
    return sign | (uint16_t)(bits < infinity ? bits : infinity);
}

static uint16_t to_bf16(double value) { return to_small(value, 7, -126, 127); }

static uint16_t to_f16(double value) { return to_small(value, 10, -14, 15); }

/* f32 to bf16 is the pair that large files need: the same rounding on the bits. */
static uint16_t bf16_of_f32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (isnan(value)) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

/* ---- rows */

#define LOAD(type, convert)                                                                \
    for (int64_t i = 0; i < count; i++) to[i] = convert(((const type *)from)[i * stride]); \
    break
#define STORE(type, convert)                                                         \
    for (int64_t i = 0; i < count; i++) ((type *)to)[i * stride] = convert(from[i]); \
    break

void fv__load_f64(double *to, const void *from, fv_dtype dtype, int64_t stride, int64_t count) {
    switch (dtype) {
    case FV_F32: LOAD(float, (double));
    case FV_F64: LOAD(double, (double));
    case FV_BF16: LOAD(uint16_t, from_bf16);
    case FV_F16: LOAD(uint16_t, from_f16);
    case FV_I8: LOAD(int8_t, (double));
    case FV_U8: LOAD(uint8_t, (double));
    case FV_BOOL: LOAD(uint8_t, 0 !=);
    case FV_I16: LOAD(int16_t, (double));
    case FV_U16: LOAD(uint16_t, (double));
    case FV_I32: LOAD(int32_t, (double));
    case FV_U32: LOAD(uint32_t, (double));
    case FV_I64: LOAD(int64_t, (double));
    case FV_U64: LOAD(uint64_t, (double));
    case FV_DTYPES: break;
    }
}

/* Conversion of a double out of range to an integer is undefined in C; here it stops at the end of the range. */
#define SATURATED(name, type, low, high)                                                           \
    static type name(double v) {                                                                   \
        return isnan(v) ? 0 : v <= (double)(low) ? (low) : v >= (double)(high) ? (high) : (type)v; \
    }
SATURATED(f64_to_i8, int8_t, INT8_MIN, INT8_MAX)
SATURATED(f64_to_u8, uint8_t, 0, UINT8_MAX)
SATURATED(f64_to_i16, int16_t, INT16_MIN, INT16_MAX)
SATURATED(f64_to_u16, uint16_t, 0, UINT16_MAX)
SATURATED(f64_to_i32, int32_t, INT32_MIN, INT32_MAX)
SATURATED(f64_to_u32, uint32_t, 0, UINT32_MAX)
SATURATED(f64_to_i64, int64_t, INT64_MIN, INT64_MAX)
SATURATED(f64_to_u64, uint64_t, 0, UINT64_MAX)

static uint8_t f64_to_bool(double v) { return v != 0; }

void fv__store_f64(void *to, fv_dtype dtype, int64_t stride, const double *from, int64_t count) {
    switch (dtype) {
    case FV_F32: STORE(float, (float));
    case FV_F64: STORE(double, (double));
    case FV_BF16: STORE(uint16_t, to_bf16);
    case FV_F16: STORE(uint16_t, to_f16);
    case FV_I8: STORE(int8_t, f64_to_i8);
    case FV_U8: STORE(uint8_t, f64_to_u8);
    case FV_BOOL: STORE(uint8_t, f64_to_bool);
    case FV_I16: STORE(int16_t, f64_to_i16);
    case FV_U16: STORE(uint16_t, f64_to_u16);
    case FV_I32: STORE(int32_t, f64_to_i32);
    case FV_U32: STORE(uint32_t, f64_to_u32);
    case FV_I64: STORE(int64_t, f64_to_i64);
    case FV_U64: STORE(uint64_t, f64_to_u64);
    case FV_DTYPES: break;
    }
}

static int64_t u64_to_i64(uint64_t v) { return v > INT64_MAX ? INT64_MAX : (int64_t)v; }

void fv__load_i64(int64_t *to, const void *from, fv_dtype dtype, int64_t stride, int64_t count) {
    switch (dtype) {
    case FV_I8: LOAD(int8_t, (int64_t));
    case FV_U8: LOAD(uint8_t, (int64_t));
    case FV_BOOL: LOAD(uint8_t, 0 !=);
    case FV_I16: LOAD(int16_t, (int64_t));
    case FV_U16: LOAD(uint16_t, (int64_t));
    case FV_I32: LOAD(int32_t, (int64_t));
    case FV_U32: LOAD(uint32_t, (int64_t));
    case FV_I64: LOAD(int64_t, (int64_t));
    case FV_U64: LOAD(uint64_t, u64_to_i64);
    default: break;
    }
}

#define BOUNDED(name, type, low, high) \
    static type name(int64_t v) { return v <= (low) ? (low) : v >= (high) ? (high) : (type)v; }
BOUNDED(i64_to_i8, int8_t, INT8_MIN, INT8_MAX)
BOUNDED(i64_to_u8, uint8_t, 0, UINT8_MAX)
BOUNDED(i64_to_i16, int16_t, INT16_MIN, INT16_MAX)
BOUNDED(i64_to_u16, uint16_t, 0, UINT16_MAX)
BOUNDED(i64_to_i32, int32_t, INT32_MIN, INT32_MAX)
BOUNDED(i64_to_u32, uint32_t, 0, UINT32_MAX)

static uint64_t i64_to_u64(int64_t v) { return v < 0 ? 0 : (uint64_t)v; }

static uint8_t i64_to_bool(int64_t v) { return v != 0; }

void fv__store_i64(void *to, fv_dtype dtype, int64_t stride, const int64_t *from, int64_t count) {
    switch (dtype) {
    case FV_I8: STORE(int8_t, i64_to_i8);
    case FV_U8: STORE(uint8_t, i64_to_u8);
    case FV_BOOL: STORE(uint8_t, i64_to_bool);
    case FV_I16: STORE(int16_t, i64_to_i16);
    case FV_U16: STORE(uint16_t, i64_to_u16);
    case FV_I32: STORE(int32_t, i64_to_i32);
    case FV_U32: STORE(uint32_t, i64_to_u32);
    case FV_I64: STORE(int64_t, (int64_t));
    case FV_U64: STORE(uint64_t, i64_to_u64);
    default: break;
    }
}

void fv__bf16_from_f32(uint16_t *to, const float *from, int64_t count) {
    for (int64_t i = 0; i < count; i++) to[i] = bf16_of_f32(from[i]);
}

void fv__f32_from_bf16(float *to, const uint16_t *from, int64_t count) {
    for (int64_t i = 0; i < count; i++) to[i] = (float)from_bf16(from[i]);
}
