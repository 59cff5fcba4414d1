/* A program as somebody compiled it once, with the headers of then: attention forward and backward, a layer by its
 * struct. Prints every result as bits. `abi_program new` says instead what the library knows that these headers do
 * not. */
#include <fovea/fovea.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { B = 1, H = 4, HKV = 2, L = 7, D = 8 };

static void check(fv_status status) {
    if (status == FV_OK) return;
    printf("%s: %s\n", fv_status_name(status), fv_message());
    exit(1);
}

static float *numbers(size_t count, uint64_t stream) {
    float *p = calloc(count, sizeof *p);
    for (size_t i = 0; i < count; i++) p[i] = (float)((double)((i * 2654435761u + stream * 40503u) % 2003) / 1000 - 1);
    return p;
}

static void print(const char *name, const float *p, size_t count) {
    printf("%s", name);
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &p[i], sizeof bits);
        printf(" %08x", bits);
    }
    printf("\n");
}

static void attention(void) {
    enum { Q = B * H * L * D, K = B * HKV * L * D };
    float *q = numbers(Q, 1), *k = numbers(K, 2), *v = numbers(K, 3), *d_out = numbers(Q, 4), *sinks = numbers(H, 5);
    float *out = numbers(Q, 0), *lse = numbers(B * H * L, 0), *dq = numbers(Q, 0), *dk = numbers(K, 0),
          *dv = numbers(K, 0);
    fv_attention_tensors x = {0};
    x.t[FV_Q] = fv_bhld(q, FV_F32, B, H, L, D), x.t[FV_K] = fv_bhld(k, FV_F32, B, HKV, L, D);
    x.t[FV_V] = fv_bhld(v, FV_F32, B, HKV, L, D), x.t[FV_OUT] = fv_bhld(out, FV_F32, B, H, L, D);
    x.t[FV_SINKS] = fv_tensor_1d(sinks, FV_F32, H);
    x.t[FV_LSE] = fv_tensor_of(lse, FV_F32, 3, (int64_t[]){B, H, L});
    x.d[FV_OUT] = fv_bhld(d_out, FV_F32, B, H, L, D), x.d[FV_Q] = fv_bhld(dq, FV_F32, B, H, L, D);
    x.d[FV_K] = fv_bhld(dk, FV_F32, B, HKV, L, D), x.d[FV_V] = fv_bhld(dv, FV_F32, B, HKV, L, D);
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    how.causal = FV_CAUSAL_LOWER_RIGHT, how.window = FV_WINDOW(4, -1), how.softcap = 3, how.dropout = 0.25;
    fv_attention_call call = {.seed = 11};
    check(fv_attention(&how, &call, &x));
    print("out", out, Q), print("lse", lse, B * H * L), print("dq", dq, Q), print("dk", dk, K), print("dv", dv, K);
    how.mechanism = "topk:k=3", how.softcap = 0;
    x.t[FV_SINKS] = (fv_tensor){0};
    how.dropout = 0;
    check(fv_attention(&how, NULL, &x));
    print("topk", out, Q);
}

static void layer(void) {
    fv_params *params;
    fv_layer *block;
    fv_graph *g;
    float *x = numbers(L * 16, 6);
    fv_block_options o = {.d_model = 16, .heads = 2, .attention.causal = FV_CAUSAL_UPPER_LEFT};
    check(fv_params_create(&params, FV_F32, 3));
    check(fv_layer_block(&block, params, "block", &o));
    check(fv_graph_create(&g, params));
    fv_graph_begin(g, FV_MODE_INFER, 0);
    fv_tensor in = fv_tensor_2d(x, FV_F32, L, 16);
    fv_node *y = fv_layer_apply(block, g, fv_op_constant(g, &in), NULL);
    check(fv_graph_status(g));
    print("block", fv_node_value(y).data, L * 16);
    fv_graph_free(g);
    fv_params_free(params);
}

static void news(void) {
    printf("%s", fv_operand_info((fv_operand)FV_OPERANDS)->name);
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    printf(" %s\n", fv_options_set(fv_attention_rows(), &how, "temperature", "2") == FV_OK ? "temperature" : "");
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "new") == 0) {
        news();
        return 0;
    }
    attention();
    layer();
    return 0;
}
