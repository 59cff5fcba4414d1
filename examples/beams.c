/* Beam search over a paged K/V cache: beams are sequences of the cache, and after every step fv_kv_cache_reorder
 * lets each go on from its parent. Beams share the pages of what they have in common. The best score is recomputed
 * by attention over the whole sequence.
 *
 *     cc examples/beams.c $(pkg-config --cflags --libs fovea) -lm -o beams && ./beams */
#include <fovea/fovea.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BEAMS = 4, TOKENS = 12, PROMPT = 70, LENGTH = 90, WIDTH = 16, PAGE = 16 };

static float embedding[TOKENS * WIDTH];
static int text[BEAMS][LENGTH];
static double score[BEAMS];

static void check(fv_status status) {
    if (status == FV_OK) return;
    fprintf(stderr, "%s\n", fv_message());
    exit((int)status);
}

/* Rows of a toy model: queries, keys and values are all the embedding of the token. */
static void embed(float *rows, const int *tokens, int count) {
    for (int i = 0; i < count; i++) memcpy(rows + i * WIDTH, embedding + tokens[i] * WIDTH, WIDTH * sizeof *rows);
}

/* Log probabilities of the next token after a row of attention. */
static void predict(const float *row, double *log_p) {
    double sum = 0;
    for (int t = 0; t < TOKENS; t++) {
        log_p[t] = 0;
        for (int c = 0; c < WIDTH; c++) log_p[t] += 0.5 * row[c] * embedding[t * WIDTH + c];
        sum += exp(log_p[t]);
    }
    for (int t = 0; t < TOKENS; t++) log_p[t] -= log(sum);
}

/* The best BEAMS of all (beam, next token) go on; `beams` is 1 at first, when all are alike. */
static void choose(const float *out, int beams, int64_t *parent, int at) {
    int before[BEAMS][LENGTH], token[BEAMS] = {0};
    double total[BEAMS][TOKENS], best[BEAMS];
    memcpy(before, text, sizeof text);
    for (int b = 0; b < beams; b++) {
        predict(out + b * WIDTH, total[b]);
        for (int t = 0; t < TOKENS; t++) total[b][t] += score[b];
    }
    for (int n = 0; n < BEAMS; n++) {
        best[n] = -INFINITY;
        for (int b = 0; b < beams; b++)
            for (int t = 0; t < TOKENS; t++)
                if (total[b][t] > best[n]) best[n] = total[b][t], parent[n] = b, token[n] = t;
        total[parent[n]][token[n]] = -INFINITY;
        memcpy(text[n], before[parent[n]], sizeof text[n]);
        text[n][at] = token[n];
    }
    memcpy(score, best, sizeof best);
}

/* The score of a text by attention over all of it. */
static double rescore(const int *tokens) {
    static float rows[LENGTH * WIDTH], out[LENGTH * WIDTH];
    double log_p[TOKENS], sum = 0;
    fv_attention_tensors x = {0};
    fv_attention_options causal = FV_ATTENTION_DEFAULT;
    causal.causal = FV_CAUSAL_LOWER_RIGHT;
    embed(rows, tokens, LENGTH);
    x.t[FV_Q] = x.t[FV_K] = x.t[FV_V] = fv_bhld(rows, FV_F32, 1, 1, LENGTH, WIDTH);
    x.t[FV_OUT] = fv_bhld(out, FV_F32, 1, 1, LENGTH, WIDTH);
    check(fv_attention(&causal, NULL, &x));
    for (int i = PROMPT; i < LENGTH; i++) {
        predict(out + (i - 1) * WIDTH, log_p);
        sum += log_p[tokens[i]];
    }
    return sum;
}

int main(void) {
    static float prompt[PROMPT * WIDTH], rows[BEAMS * WIDTH], out[BEAMS * WIDTH];
    for (int i = 0; i < TOKENS * WIDTH; i++) embedding[i] = sinf(1.3F + (float)i * (float)i);
    for (int i = 0; i < PROMPT; i++) text[0][i] = i * i % 7;

    fv_cache_options keep = {.batch = BEAMS,
                             .kv_heads = 1,
                             .d_qk = WIDTH,
                             .d_v = WIDTH,
                             .dtype = FV_F32,
                             .kind = FV_CACHE_PAGED,
                             .capacity = LENGTH,
                             .page_rows = PAGE,
                             .pages = 16};
    fv_kv_cache *cache;
    fv_decode_plan *plan;
    check(fv_kv_cache_create(&cache, &keep));
    check(fv_decode_plan_create(&plan, NULL, cache, 1, 1));
    void *scratch = malloc(fv_decode_scratch(plan, cache) + 1);

    /* The prompt, but for its last token, is computed once; then every beam is a copy of it. */
    embed(prompt, text[0], PROMPT - 1);
    fv_tensor k = fv_tensor_slice(fv_bhld(prompt, FV_F32, 1, 1, PROMPT, WIDTH), 2, 0, PROMPT - 1);
    k.dim[0] = BEAMS, k.stride[0] = 0;
    check(fv_kv_cache_append(cache, &k, &k, (int64_t[BEAMS]){PROMPT - 1}));
    check(fv_kv_cache_reorder(cache, (int64_t[BEAMS]){0}, BEAMS));
    for (int b = 1; b < BEAMS; b++) memcpy(text[b], text[0], sizeof text[0]);

    for (int at = PROMPT; at < LENGTH; at++) {
        int64_t parent[BEAMS];
        for (int b = 0; b < BEAMS; b++) embed(rows + b * WIDTH, &text[b][at - 1], 1);
        const fv_tensor row = fv_bhld(rows, FV_F32, BEAMS, 1, 1, WIDTH);
        check(fv_kv_cache_append(cache, &row, &row, NULL));
        fv_decode_tensors x = {.q = row, .out = fv_bhld(out, FV_F32, BEAMS, 1, 1, WIDTH)};
        check(fv_decode(plan, cache, &x, scratch));
        choose(out, at == PROMPT ? 1 : BEAMS, parent, at);
        check(fv_kv_cache_reorder(cache, parent, BEAMS));
    }
    const double again = rescore(text[0]);
    printf("best of %d beams: log probability %.4f, by attention over the whole %s\n", BEAMS, score[0],
           fabs(again - score[0]) < 1e-4 ? "the same" : "ANOTHER");
    printf("%d beams of %lld positions in %lld pages of %d, where each alone would need %d\n", BEAMS,
           (long long)fv_kv_cache_length(cache, 0), (long long)(keep.pages - fv_kv_cache_free_pages(cache)), PAGE,
           BEAMS * ((LENGTH - 1 + PAGE - 1) / PAGE));
    free(scratch);
    fv_decode_plan_free(plan);
    fv_kv_cache_free(cache);
    return fabs(again - score[0]) < 1e-4 ? 0 : 1;
}
