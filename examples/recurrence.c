/* A recurrence over a stream: the prompt in one call, then token after token, and nothing is kept but a state of fixed
 * size. What comes out is compared with one call over the whole.
 *
 *     cc examples/recurrence.c $(pkg-config --cflags --libs fovea) -lm -o recurrence && ./recurrence */
#include <fovea/fovea.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEADS = 4, PROMPT = 100, LENGTH = 120, WIDTH = 16 };

static float q[HEADS * LENGTH * WIDTH], k[HEADS * LENGTH * WIDTH], v[HEADS * LENGTH * WIDTH];
static float log_decay[HEADS * LENGTH], beta[HEADS * LENGTH];
static float whole[HEADS * LENGTH * WIDTH], out[HEADS * LENGTH * WIDTH], states[2][HEADS * WIDTH * WIDTH];

static void check(fv_status status) {
    if (status == FV_OK) return;
    fprintf(stderr, "%s\n", fv_message());
    exit((int)status);
}

/* Keys of length 1, decays below and write strengths from 0 to 1: what a layer makes with a norm and two sigmoids. */
static void fill(void) {
    for (int t = 0; t < HEADS * LENGTH; t++) {
        float sum = 0;
        for (int c = t * WIDTH; c < (t + 1) * WIDTH; c++) {
            q[c] = sinf(1.3F * (float)c), k[c] = sinf(1.7F * (float)c), v[c] = sinf(2.1F * (float)c);
            sum += k[c] * k[c];
        }
        for (int c = t * WIDTH; c < (t + 1) * WIDTH; c++) k[c] /= sqrtf(sum);
        log_decay[t] = -0.1F * fabsf(sinf((float)t)), beta[t] = fabsf(cosf((float)t));
    }
}

/* Tokens start, start + 1, ... of all heads. */
static fv_tensor tokens(float *x, int64_t start, int64_t count, int64_t width) {
    fv_tensor t = fv_tensor_slice(fv_bhld(x, FV_F32, 1, HEADS, LENGTH, width), 2, start, count);
    if (width == 1) t.rank = 3;
    return t;
}

static fv_attention_tensors call(float *to, int64_t start, int64_t count) {
    fv_attention_tensors x = {0};
    x.t[FV_Q] = tokens(q, start, count, WIDTH), x.t[FV_K] = tokens(k, start, count, WIDTH);
    x.t[FV_V] = tokens(v, start, count, WIDTH), x.t[FV_OUT] = tokens(to, start, count, WIDTH);
    x.t[FV_LOG_DECAY] = tokens(log_decay, start, count, 1), x.t[FV_BETA] = tokens(beta, start, count, 1);
    return x;
}

int main(void) {
    fill();
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    how.mechanism = "deltanet";
    fv_attention_tensors all = call(whole, 0, LENGTH);
    check(fv_attention(&how, NULL, &all));

    fv_attention_tensors prompt = call(out, 0, PROMPT);
    prompt.t[FV_STATE_OUT] = fv_bhld(states[0], FV_F32, 1, HEADS, WIDTH, WIDTH);
    check(fv_attention(&how, NULL, &prompt));
    for (int64_t t = PROMPT; t < LENGTH; t++) {
        const int64_t turn = t - PROMPT;
        fv_attention_tensors x = call(out, t, 1);
        x.t[FV_STATE] = fv_bhld(states[turn % 2], FV_F32, 1, HEADS, WIDTH, WIDTH);
        x.t[FV_STATE_OUT] = fv_bhld(states[(turn + 1) % 2], FV_F32, 1, HEADS, WIDTH, WIDTH);
        check(fv_attention(&how, NULL, &x));
    }
    float most = 0;
    for (int i = 0; i < HEADS * LENGTH * WIDTH; i++) most = fmaxf(most, fabsf(out[i] - whole[i]));
    printf("%d tokens, a state of %zu bytes, largest difference to the whole %s\n", LENGTH, sizeof states[0],
           most < 1e-5F ? "below 1e-5" : "TOO LARGE");
    return most < 1e-5F ? 0 : 1;
}
