/* Decoding with a K/V cache: a prompt is appended at once, then row after row, and each new row attends to all
 * before it. What comes out is compared with attention over the whole sequence.
 *
 *     cc examples/decode_cache.c $(pkg-config --cflags --libs fovea) -lm -o decode && ./decode */
#include <fovea/fovea.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEADS = 8, KV = 2, PROMPT = 20, LENGTH = 28, WIDTH = 16 };

static float q[HEADS * LENGTH * WIDTH], k[KV * LENGTH * WIDTH], v[KV * LENGTH * WIDTH];
static float whole[HEADS * LENGTH * WIDTH], row[HEADS * WIDTH];

static void check(fv_status status) {
    if (status == FV_OK) return;
    fprintf(stderr, "%s\n", fv_message());
    exit((int)status);
}

static void numbers(float *x, int count, float phase) {
    for (int i = 0; i < count; i++) x[i] = sinf(phase + 0.7F * (float)i * phase);
}

/* Positions start, start + 1, ... of a tensor whose rows are (heads, LENGTH, WIDTH). */
static fv_tensor rows(float *x, int64_t heads, int64_t start, int64_t count) {
    return fv_tensor_slice(fv_bhld(x, FV_F32, 1, heads, LENGTH, WIDTH), 2, start, count);
}

static float difference_at(int64_t position) {
    float most = 0;
    for (int h = 0; h < HEADS; h++)
        for (int c = 0; c < WIDTH; c++)
            most = fmaxf(most, fabsf(row[h * WIDTH + c] - whole[(h * LENGTH + position) * WIDTH + c]));
    return most;
}

int main(void) {
    numbers(q, HEADS * LENGTH * WIDTH, 1.3F), numbers(k, KV * LENGTH * WIDTH, 1.7F),
        numbers(v, KV * LENGTH * WIDTH, 2.1F);
    fv_attention_tensors all = {0};
    all.t[FV_Q] = rows(q, HEADS, 0, LENGTH), all.t[FV_K] = rows(k, KV, 0, LENGTH);
    all.t[FV_V] = rows(v, KV, 0, LENGTH), all.t[FV_OUT] = rows(whole, HEADS, 0, LENGTH);
    fv_attention_options causal = FV_ATTENTION_DEFAULT;
    causal.causal = FV_CAUSAL_LOWER_RIGHT;
    check(fv_attention(&causal, NULL, &all));

    fv_cache_options keep = {
        .batch = 1, .kv_heads = KV, .d_qk = WIDTH, .d_v = WIDTH, .dtype = FV_F32, .capacity = LENGTH};
    fv_decode_options how = FV_DECODE_DEFAULT;
    fv_kv_cache *cache;
    fv_decode_plan *plan;
    check(fv_kv_cache_create(&cache, &keep));
    check(fv_decode_plan_create(&plan, &how, cache, HEADS, 1));
    void *scratch = malloc(fv_decode_scratch(plan, cache) + 1);

    fv_tensor new_k = rows(k, KV, 0, PROMPT), new_v = rows(v, KV, 0, PROMPT);
    check(fv_kv_cache_append(cache, &new_k, &new_v, NULL));
    float most = 0;
    for (int64_t position = PROMPT; position < LENGTH; position++) {
        new_k = rows(k, KV, position, 1), new_v = rows(v, KV, position, 1);
        check(fv_kv_cache_append(cache, &new_k, &new_v, NULL));
        fv_decode_tensors x = {.q = rows(q, HEADS, position, 1), .out = fv_bhld(row, FV_F32, 1, HEADS, 1, WIDTH)};
        check(fv_decode(plan, cache, &x, scratch));
        most = fmaxf(most, difference_at(position));
    }
    char text[160];
    fv_decode_describe(plan, cache, text, sizeof text);
    printf("%s\n%lld positions in the cache, largest difference to the whole %s\n", text,
           (long long)fv_kv_cache_length(cache, 0), most < 1e-5F ? "below 1e-5" : "too large");
    free(scratch);
    fv_decode_plan_free(plan);
    fv_kv_cache_free(cache);
    return most < 1e-5F ? 0 : 1;
}
