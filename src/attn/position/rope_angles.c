/* The angles of rotary embedding: frequencies of the pairs, their scalings for long contexts, tables. Everything in
 * double. */
#include "attn/position/rope_call.h"

#include <math.h>

#define TWO_PI 6.283185307179586476925286766559

static fv_status check_scaling(const fv_rope_options *o) {
    if (!(o->base > 1) || !isfinite(o->base))
        return fv__fail(FV_USAGE, "rope: base\n  expected a number above 1\n  found:   %g", o->base);
    if (o->scaling < FV_ROPE_UNSCALED || o->scaling > FV_ROPE_LLAMA3)
        return fv__fail(FV_USAGE, "rope: scaling\n  expected one of fv_rope_scaling\n  found:   %d", (int)o->scaling);
    if (!isfinite(o->magnitude))
        return fv__fail(FV_USAGE, "rope: magnitude\n  expected a finite number, 1 for a pure rotation\n  found:   %g",
                        o->magnitude);
    if (o->scaling == FV_ROPE_UNSCALED) return FV_OK;
    if (!(o->factor >= 1) || !isfinite(o->factor))
        return fv__fail(FV_USAGE, "rope: factor\n  expected 1 or more\n  found:   %g", o->factor);
    if (o->scaling < FV_ROPE_YARN) return FV_OK;
    if (!(o->original_length >= 1) || !isfinite(o->original_length))
        return fv__fail(FV_USAGE,
                        "rope: original_length\n  expected the positions the model was trained with\n  found:   %g",
                        o->original_length);
    if (o->scaling == FV_ROPE_YARN && !(o->beta_slow > 0 && o->beta_fast > o->beta_slow && isfinite(o->beta_fast)))
        return fv__fail(FV_USAGE, "rope: beta_fast, beta_slow\n  expected fast > slow > 0\n  found:   %g, %g",
                        o->beta_fast, o->beta_slow);
    if (o->scaling == FV_ROPE_LLAMA3 && !(o->low > 0 && o->high > o->low && isfinite(o->high)))
        return fv__fail(FV_USAGE, "rope: low, high\n  expected high > low > 0\n  found:   %g, %g", o->low, o->high);
    return FV_OK;
}

fv_status fv__rope_columns(const fv_rope_options *o, int64_t head_dim, int64_t *columns) {
    *columns = o->columns ? o->columns : head_dim;
    if (*columns >= 0 && *columns <= head_dim && *columns % 2 == 0) return FV_OK;
    return fv__fail(FV_USAGE, "rope: columns\n  expected an even number up to head_dim, %lld\n  found:   %lld",
                    (long long)head_dim, (long long)*columns);
}

/* ---- scalings */

/* YaRN: the pair index, as a real number, that makes `rotations` within the original length. */
static double index_of_rotations(const fv_rope_options *o, int64_t columns, double rotations) {
    return (double)columns * log(o->original_length / (rotations * TWO_PI)) / (2 * log(o->base));
}

static void scale_yarn(const fv_rope_options *o, int64_t columns, double *frequency) {
    double from = index_of_rotations(o, columns, o->beta_fast), to = index_of_rotations(o, columns, o->beta_slow);
    if (o->whole_ramp) from = floor(from), to = ceil(to);
    from = fmax(from, 0), to = fmin(to, (double)(columns - 1));
    if (to <= from) to = from + 1e-3; /* a step */
    for (int64_t i = 0; i < columns / 2; i++) {
        const double slow = fmin(fmax(((double)i - from) / (to - from), 0), 1);
        frequency[i] *= slow / o->factor + (1 - slow);
    }
}

static void scale_llama3(const fv_rope_options *o, int64_t columns, double *frequency) {
    for (int64_t i = 0; i < columns / 2; i++) {
        const double rotations = o->original_length * frequency[i] / TWO_PI; /* L0 / wave length */
        const double fast = fmin(fmax((rotations - o->low) / (o->high - o->low), 0), 1);
        frequency[i] *= (1 - fast) / o->factor + fast;
    }
}

static void fill_frequencies(const fv_rope_options *o, int64_t columns, double *frequency) {
    const bool ntk = o->scaling == FV_ROPE_NTK && columns > 2;
    const double base = ntk ? o->base * pow(o->factor, (double)columns / (double)(columns - 2)) : o->base;
    for (int64_t i = 0; i < columns / 2; i++) frequency[i] = pow(base, -2.0 * (double)i / (double)columns);
    if (o->scaling == FV_ROPE_LINEAR)
        for (int64_t i = 0; i < columns / 2; i++) frequency[i] /= o->factor;
    if (o->scaling == FV_ROPE_YARN) scale_yarn(o, columns, frequency);
    if (o->scaling == FV_ROPE_LLAMA3) scale_llama3(o, columns, frequency);
}

fv_status fv_rope_frequencies(const fv_rope_options *options, int64_t head_dim, double *frequency) {
    int64_t columns;
    FV_TRY(fv__rope_need(options, "the options"));
    FV_TRY(fv__rope_need(frequency, "memory for the frequencies"));
    FV_TRY(fv__rope_columns(options, head_dim, &columns));
    FV_TRY(check_scaling(options));
    fill_frequencies(options, columns, frequency);
    return FV_OK;
}

double fv_rope_attention_factor(const fv_rope_options *o) {
    return o && o->scaling == FV_ROPE_YARN && o->factor > 1 ? 0.1 * log(o->factor) + 1 : 1;
}

/* ---- tables */

typedef struct fill {
    const double *frequency;
    double magnitude;
    int64_t pairs, first;
    const fv_tensor *position, *cosine, *sine;
} fill;

static void put(const fv_tensor *t, int64_t row, int64_t column, double value) {
    const int64_t at = row * t->stride[0] + column * t->stride[1];
    if (t->dtype == FV_F64)
        ((double *)t->data)[at] = value;
    else
        ((float *)t->data)[at] = (float)value;
}

static void fill_row(void *context, int64_t row, int worker) {
    const fill *f = context;
    (void)worker;
    double at = (double)f->first + (double)row;
    if (f->position->rank) {
        const int64_t length = f->position->dim[1];
        at = (double)fv__rope_position(f->position, row / length, row % length);
    }
    for (int64_t i = 0; i < f->pairs; i++) {
        put(f->cosine, row, i, f->magnitude * cos(at * f->frequency[i]));
        put(f->sine, row, i, f->magnitude * sin(at * f->frequency[i]));
    }
}

void fv__rope_fill(const double *frequency, double magnitude, int64_t pairs, const fv_tensor *position, int64_t first,
                   const fv_tensor *cosine, const fv_tensor *sine) {
    fill f = {frequency, magnitude, pairs, first, position, cosine, sine};
    fv__parallel_for(cosine->dim[0], fill_row, &f);
}

static fv_status wrong_tables(const fv_tensor *cosine, const fv_tensor *sine) {
    char shape[2][128];
    fv_tensor_describe(cosine, shape[0], sizeof shape[0]);
    fv_tensor_describe(sine, shape[1], sizeof shape[1]);
    return fv__fail(FV_USAGE, "rope: tables\n  expected two tensors (P,R/2) of f32 or f64\n  found:   %s and %s",
                    shape[0], shape[1]);
}

fv_status fv_rope_tables(const fv_rope_options *options, const fv_tensor *cosine, const fv_tensor *sine) {
    const fv_tensor none = {0};
    FV_TRY(fv__rope_need(options, "the options"));
    FV_TRY(fv__rope_need(cosine, "the table of cosines"));
    FV_TRY(fv__rope_need(sine, "the table of sines"));
    if (cosine->rank != 2 || (cosine->dtype != FV_F32 && cosine->dtype != FV_F64) ||
        !fv_tensor_same_shape(cosine, sine) || cosine->dtype != sine->dtype)
        return wrong_tables(cosine, sine);
    const int64_t pairs = cosine->dim[1];
    if (pairs > INT64_MAX / 4 || (options->columns && options->columns / 2 != pairs))
        return fv__fail(FV_USAGE, "rope: tables\n  expected half of the rotated columns, %lld\n  found:   %lld",
                        (long long)(options->columns / 2), (long long)pairs);
    if ((!cosine->data || !sine->data) && fv_tensor_count(cosine) != 0)
        return fv__fail(FV_USAGE, "rope: tables\n  expected memory for both\n  found:   no data");
    FV_TRY(check_scaling(options));
    double *frequency = fv__alloc_array((size_t)pairs, sizeof *frequency);
    if (!frequency) return FV_NO_RESOURCES;
    fill_frequencies(options, 2 * pairs, frequency);
    fv__rope_fill(frequency, options->magnitude, pairs, &none, 0, cosine, sine);
    fv__free(frequency);
    return FV_OK;
}
