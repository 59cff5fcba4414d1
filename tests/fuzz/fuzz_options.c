/* Options as text, "name=value" a line, and durations, presets and choices of heads among them. */
#include "fuzz/fuzz.h"

#include "fovea/train.h"

static void set(fv_train_setup *setup, char *line) {
    char *value = strchr(line, '=');
    if (!value) return;
    *value++ = 0;
    fuzz_done(fv_train_setup_set(setup, line, value));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static const char *const kinds[] = {"bayes", "linear", "bag", "attention", "transformer"};
    char *text[1], *rest;
    fv_train_setup setup;
    if (size < 1) return 0;
    if (fv_train_setup_init(&setup, kinds[bytes[0] % 5]) != FV_OK) abort();
    fuzz_cut(text, 1, bytes + 1, size - 1);
    int lines = 0;
    for (char *line = strtok_r(text[0], "\n", &rest); line && lines < 64; line = strtok_r(NULL, "\n", &rest), lines++)
        set(&setup, line);
    fuzz_done(fv_train_setup_check(&setup));
    fv__free(text[0]);
    return 0;
}
