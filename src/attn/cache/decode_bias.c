/* What a call of decoding adds to the scores of a row and hides from it, besides the range that it sees: bias and
 * mask. */
#include "attn/cache/decode.h"

#include <math.h>

enum { PIECE = 256 }; /* positions converted at once */

static fv__decode_plane plane_of(const fv_tensor *t) {
    fv__decode_plane p = {.data = t->rank ? t->data : NULL, .dtype = t->dtype};
    for (int a = 0; a < 4 && t->rank; a++) p.step[a] = t->dim[a] == 1 ? 0 : t->stride[a];
    return p;
}

fv__decode_bias_mask fv__decode_bias_mask_of(const fv_decode_plan *plan, const fv_decode_tensors *x) {
    return (fv__decode_bias_mask){
        .bias = plane_of(&x->bias), .mask = plane_of(&x->mask), .drop = plan->o.mask_means == FV_MASK_DROP};
}

static int64_t element(const fv__decode_plane *p, const fv__decode_row *row, int64_t at) {
    return row->b * p->step[0] + row->h * p->step[1] + row->r * p->step[2] + at * p->step[3];
}

/* n elements from `at` on, as f32 in `some` unless they are that where they lie. */
static const float *load(const fv__simd_f32 *simd, const fv__decode_plane *p, int64_t at, int64_t n, float *some) {
    uint16_t half[PIECE];
    const int64_t step = p->step[3];
    const float *whole = (const float *)p->data + (p->dtype == FV_F32 ? at : 0);
    if (p->dtype == FV_F32 && step == 1) return whole;
    for (int64_t i = 0; i < n; i++)
        if (p->dtype == FV_F32)
            some[i] = whole[i * step];
        else
            half[i] = ((const uint16_t *)p->data)[at + i * step];
    if (p->dtype == FV_BF16) simd->from_bf16(some, half, n);
    if (p->dtype == FV_F16) simd->from_f16(some, half, n);
    return some;
}

void fv__decode_add_bias_mask(const fv__decode_bias_mask *x, const fv__simd_f32 *simd, const fv__decode_row *row,
                              int64_t start, int64_t end, float *s) {
    float some[PIECE];
    for (int64_t at = start, n; x->bias.data && at < end; at += n) {
        n = end - at < PIECE ? end - at : PIECE;
        simd->add_bias(s + at - start, load(simd, &x->bias, element(&x->bias, row, at), n, some), n);
    }
    if (!x->mask.data) return;
    const unsigned char *mask = (const unsigned char *)x->mask.data + element(&x->mask, row, start);
    const int64_t step = x->mask.step[3];
    for (int64_t i = 0; i < end - start; i++) s[i] = (mask[i * step] != 0) == x->drop ? -INFINITY : s[i];
}

bool fv__decode_hides(const fv__decode_bias_mask *x, const fv__simd_f32 *simd, const fv__decode_row *row, int64_t at) {
    float some[PIECE];
    if (x->bias.data && *load(simd, &x->bias, element(&x->bias, row, at), 1, some) == -INFINITY) return true;
    return x->mask.data && (((const unsigned char *)x->mask.data)[element(&x->mask, row, at)] != 0) == x->drop;
}
