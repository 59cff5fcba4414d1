/* Attention with its weights and its gradients: cc attention.c $(pkg-config --cflags --libs fovea)
 *
 * The first function of every guide: out = softmax(q k^T / sqrt(d)) v. Here it also gives the weights of chosen
 * rows, from the fused path, and the gradients of q, k and v. */
#include <fovea/fovea.h>
#include <stdio.h>

enum { HEADS = 2, LENGTH = 6, WIDTH = 8, SIZE = HEADS * LENGTH * WIDTH };
static float q[SIZE], k[SIZE], v[SIZE], out[SIZE], lse[HEADS * LENGTH];
static float dout[SIZE], dq[SIZE], dk[SIZE], dv[SIZE], weights[LENGTH];

static fv_tensor tensor(float *data) { return fv_bhld(data, FV_F32, 1, HEADS, LENGTH, WIDTH); }

static int fail(void) {
    fprintf(stderr, "%s\n", fv_message());
    return 1;
}

int main(void) {
    for (int i = 0; i < SIZE; i++) {
        q[i] = (float)(i * 7 % 13) / 13 - .5f;
        k[i] = (float)(i * 5 % 11) / 11 - .5f;
        v[i] = (float)(i * 3 % 17) / 17 - .5f;
        dout[i] = 1;
    }
    fv_attention_tensors x = {0};
    x.t[FV_Q] = tensor(q), x.t[FV_K] = tensor(k), x.t[FV_V] = tensor(v), x.t[FV_OUT] = tensor(out);
    x.t[FV_LSE] = fv_tensor_of(lse, FV_F32, 3, (int64_t[]){1, HEADS, LENGTH});
    x.d[FV_OUT] = tensor(dout), x.d[FV_Q] = tensor(dq), x.d[FV_K] = tensor(dk), x.d[FV_V] = tensor(dv);

    fv_attention_options how = FV_ATTENTION_DEFAULT;
    how.causal = FV_CAUSAL_UPPER_LEFT;
    fv_attention_plan *plan = NULL;
    if (fv_attention(&how, NULL, &x) != FV_OK || fv_attention_plan_create(&plan, &how, &x) != FV_OK) return fail();
    char text[200];
    fv_attention_plan_describe(plan, text, sizeof text);
    printf("%s\n", text);

    const int64_t row = LENGTH - 1;
    fv_tensor w = fv_tensor_2d(weights, FV_F32, 1, LENGTH);
    if (fv_attention_weights(plan, NULL, &x, FV_CAPTURE_SOFTMAX, 0, 1, &row, 1, &w) != FV_OK) return fail();
    printf("head 1, last query attends to");
    for (int j = 0; j < LENGTH; j++) printf(" %.3f", weights[j]);
    printf("\nout[0] %.4f  dq[9] %.4f  dk[0] %.4f  dv[0] %.4f\n", out[0], dq[9], dk[0], dv[0]);
    fv_attention_plan_free(plan);
    return 0;
}
