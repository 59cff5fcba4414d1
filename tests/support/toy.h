/* A small labelled data set made of nothing but a counter, for tests of training. Class "yes" favours five words. */
#ifndef TEST_TOY_H
#define TEST_TOY_H

#include "base/base.h"
#include "fovea/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A new folder; in memory where that is possible, because these tests sync thousands of files. */
static inline int toy_folder(char folder[64]) {
    snprintf(folder, 64, "%s/fovea-toy-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    return mkdtemp(folder) ? 0 : 1;
}

static inline fv_status toy_text(fv__buf *tsv, int rows, uint64_t seed) {
    static const char *const yes[] = {"good", "fine", "great", "happy", "love"};
    static const char *const no[] = {"bad", "poor", "awful", "sad", "hate"};
    fv__buf_text(tsv, "label\ttext\n");
    for (int row = 0; row < rows; row++) {
        int is_yes = row % 2;
        fv__buf_text(tsv, is_yes ? "yes\t" : "no\t");
        int words = 3 + (int)fv__random_below(seed, 1, (uint64_t)row, 9);
        for (int i = 0; i < words; i++) {
            uint64_t at = (uint64_t)(row * 16 + i);
            int64_t word = fv__random_below(seed, 2, at, 20);
            if (word < 5)
                fv__buf_printf(tsv, "%s ", (is_yes ? yes : no)[word]);
            else
                fv__buf_printf(tsv, "word%d ", (int)word);
        }
        fv__buf_text(tsv, is_yes ? "great\n" : "awful\n");
    }
    return fv__buf_status(tsv);
}

static inline fv_status toy_data(fv_dataset **data, int rows, uint64_t seed) {
    fv__buf tsv = {0};
    fv_status status = toy_text(&tsv, rows, seed);
    fv_dataset_options options;
    fv_options_init(fv_dataset_option_rows(), &options);
    options.format = "tsv", options.header = "yes", options.text_col = "text", options.label_col = "label";
    if (!status) status = fv_dataset_parse(data, "toy.tsv", tsv.data, tsv.size, &options, NULL, true);
    fv__buf_free(&tsv);
    return status;
}

/* Texts of six words with a number: 10 and what the words are worth, N for plusN, -N for minusN, 0 for the others. */
static inline fv_status toy_numbers_text(fv__buf *tsv, int rows, uint64_t seed) {
    fv__buf_text(tsv, "label\ttext\n");
    for (int row = 0; row < rows; row++) {
        fv__buf words = {0};
        int count = 6, worth = 0;
        for (int i = 0; i < count; i++) {
            uint64_t at = (uint64_t)(row * 16 + i);
            int number = 1 + (int)fv__random_below(seed, 4, at, 3), sort = (int)fv__random_below(seed, 5, at, 3);
            static const char *const names[] = {"word", "plus", "minus"};
            fv__buf_printf(&words, "%s%s%d", i ? " " : "", names[sort], sort ? number : (int)(at % 9));
            worth += sort == 1 ? number : sort == 2 ? -number : 0;
        }
        fv__buf_printf(tsv, "%d\t%s\n", 10 + worth, words.data);
        fv__buf_free(&words);
    }
    return fv__buf_status(tsv);
}

static inline fv_status toy_numbers(fv_dataset **data, int rows, uint64_t seed) {
    fv__buf tsv = {0};
    fv_status status = toy_numbers_text(&tsv, rows, seed);
    if (!status) status = fv_dataset_parse(data, "toy.tsv", tsv.data, tsv.size, NULL, NULL, FV_TARGET_REAL);
    fv__buf_free(&tsv);
    return status;
}

#endif
