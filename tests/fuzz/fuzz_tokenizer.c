/* tokenizer.json, then a NUL, then a text that it encodes and decodes; saved and loaded again it says the same. */
#include "fuzz/fuzz.h"

#include "fovea/data.h"

static void check_tokens(const fv_tokens *t, size_t size) {
    for (int64_t i = 0; i < t->count; i++)
        if (t->start[i] < 0 || t->end[i] < t->start[i] || (size_t)t->end[i] > size) abort();
}

static void save_and_load(const fv_tokenizer *t, const fv_tokens *tokens, const char *text) {
    char path[64];
    fv_tokenizer *again;
    fv_tokens same = {0};
    snprintf(path, sizeof path, "%s/t.json", fuzz_folder());
    if (!fuzz_done(fv_tokenizer_save(t, path))) return;
    if (fv_tokenizer_load(&again, path) != FV_OK) abort();
    if (fv_tokenizer_encode(again, &same, text, strlen(text)) != FV_OK || same.count != tokens->count) abort();
    if (same.count && memcmp(same.id, tokens->id, (size_t)same.count * sizeof *same.id)) abort();
    fv_tokens_free(&same);
    fv_tokenizer_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    char *part[2] = {NULL, ""}, *decoded;
    fv_tokenizer *t;
    fv_tokens tokens = {0};
    size_t parts = fuzz_cut(part, 2, bytes, size);
    const char *text = parts > 1 ? part[1] : "a good text";
    if (fuzz_done(fv_tokenizer_load(&t, fuzz_file(0, part[0], strlen(part[0]))))) {
        if (fuzz_done(fv_tokenizer_encode(t, &tokens, text, strlen(text)))) {
            check_tokens(&tokens, strlen(text));
            if (fuzz_done(fv_tokenizer_decode(t, &decoded, tokens.id, tokens.count))) fv_text_free(decoded);
            save_and_load(t, &tokens, text);
        }
        fv_tokens_free(&tokens);
        fv_tokenizer_free(t);
    }
    fv__free(part[0]);
    return 0;
}
