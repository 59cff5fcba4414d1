/* Which query sees which key, as a mask predicate: six usual sparsity patterns, their tiles, and attention with one
 * of them.
 *
 *     cc examples/masks.c $(pkg-config --cflags --libs fovea) -o masks && ./masks */
#include <fovea/fovea.h>

#include <stdio.h>
#include <stdlib.h>

enum { LENGTH = 512, WIDTH = 16 };

static bool causal(void *context, int64_t batch, int64_t head, int64_t i, int64_t j) {
    (void)context, (void)batch, (void)head;
    return j <= i;
}

/* The last 100 keys up to the query itself. */
static bool window(void *context, int64_t batch, int64_t head, int64_t i, int64_t j) {
    (void)context, (void)batch, (void)head;
    return j <= i && i - j < 100;
}

/* A prompt that sees itself in both directions, then text that is written from left to right. */
static bool prefix(void *context, int64_t batch, int64_t head, int64_t i, int64_t j) {
    (void)context, (void)batch, (void)head;
    return j < 200 || j <= i;
}

/* Texts one after the other; `context` has the number of the text of each token. */
static bool document(void *context, int64_t batch, int64_t head, int64_t i, int64_t j) {
    const int32_t *text = context;
    (void)batch, (void)head;
    return text[i] == text[j] && j <= i;
}

/* Every fourth key of the last 256. */
static bool dilated(void *context, int64_t batch, int64_t head, int64_t i, int64_t j) {
    (void)context, (void)batch, (void)head;
    return j <= i && i - j < 256 && (i - j) % 4 == 0;
}

/* A window for all heads, and a few tokens everybody sees: a different pattern in every head. */
static bool sinks(void *context, int64_t batch, int64_t head, int64_t i, int64_t j) {
    (void)context, (void)batch;
    return j <= i && (j < 4 || i - j < 64 * (head + 1));
}

typedef struct scene {
    const char *name;
    fv_mask_predicate *predicate;
    int64_t heads;
} scene;
static const scene scenes[] = {{"causal", causal, 1},     {"window", window, 1},   {"prefix", prefix, 1},
                               {"document", document, 1}, {"dilated", dilated, 1}, {"sinks", sinks, 2}};
enum { SCENES = sizeof scenes / sizeof *scenes };

static void check(fv_status status) {
    if (status == FV_OK) return;
    fprintf(stderr, "%s\n", fv_message());
    exit((int)status);
}

/* A character per tile: # full, + partial, . empty. */
static void draw(fv_block_mask *const *mask) {
    for (int n = 0; n < SCENES; n++) printf("%-11s", scenes[n].name);
    for (int64_t i = 0; i < LENGTH; i += 32) {
        printf("\n");
        for (int n = 0; n < SCENES; n++) {
            for (int64_t j = 0; j < LENGTH; j += 64) putchar(".#+"[fv_block_mask_kind(mask[n], 0, 0, i, j)]);
            printf("   ");
        }
    }
    printf("\n\n");
}

static void count(fv_block_mask *const *mask) {
    for (int n = 0; n < SCENES; n++) {
        const fv_block_info info = fv_block_mask_info(mask[n]);
        const double all = (double)(info.heads * LENGTH) * LENGTH;
        printf("%-10s %3d empty %3d full %3d partial   %4.1f %% of the pairs, %zu bytes\n", scenes[n].name,
               (int)info.tiles[FV_BLOCK_EMPTY], (int)info.tiles[FV_BLOCK_FULL], (int)info.tiles[FV_BLOCK_PARTIAL],
               100 * (double)info.pairs / all, info.bytes);
    }
}

/* Attention of one head with a mask. */
static void attend(const fv_block_mask *mask) {
    static float q[LENGTH * WIDTH], out[LENGTH * WIDTH];
    fv_attention_tensors x = {0};
    fv_attention_options how = FV_ATTENTION_DEFAULT;
    for (int i = 0; i < LENGTH * WIDTH; i++) q[i] = (float)((i * 7919) % 101) / 101;
    x.t[FV_Q] = x.t[FV_K] = x.t[FV_V] = fv_bhld(q, FV_F32, 1, 1, LENGTH, WIDTH);
    x.t[FV_OUT] = fv_bhld(out, FV_F32, 1, 1, LENGTH, WIDTH);
    how.blocks = mask;
    check(fv_attention(&how, NULL, &x));
    printf("\nfirst row of the second text: it sees itself alone, %g is %g\n", (double)out[150 * WIDTH],
           (double)q[150 * WIDTH]);
}

int main(void) {
    static int32_t text[LENGTH];
    fv_block_mask *mask[SCENES];
    for (int i = 0; i < LENGTH; i++) text[i] = (i >= 150) + (i >= 200) + (i >= 410);
    for (int n = 0; n < SCENES; n++)
        check(fv_block_mask_create(&mask[n], scenes[n].predicate, text, 1, scenes[n].heads, LENGTH, LENGTH));
    draw(mask);
    count(mask);
    attend(mask[3]);
    for (int n = 0; n < SCENES; n++) fv_block_mask_free(mask[n]);
    return 0;
}
