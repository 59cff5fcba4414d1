/* Labelled texts: CSV, TSV, JSON lines, fastText and plain lines. The first byte chooses format and target. */
#include "fuzz/fuzz.h"

#include "fovea/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static const char *const formats[] = {"auto", "csv", "tsv", "jsonl", "fasttext", "lines"}, *const names[] = {
                                                                                                   "x.txt", "x.csv",
                                                                                                   "x.tsv", "x.jsonl"};
    if (size < 1) return 0;
    fv_dataset_options o;
    fv_dataset *data, *train, *valid, *test;
    fv_options_init(fv_dataset_option_rows(), &o);
    o.format = formats[bytes[0] % 6];
    if (bytes[0] & 8) o.labels = "first";
    if (bytes[0] & 16) o.header = "no", o.text_col = "2", o.label_col = "1";
    fv_target_type target = (fv_target_type)(bytes[0] / 32 % 3);
    fv_status status =
        fv_dataset_parse(&data, names[bytes[0] / 64], (const char *)bytes + 1, size - 1, &o, NULL, target);
    if (!fuzz_done(status)) return 0;
    if (fuzz_done(fv_dataset_split(&train, &valid, &test, data, NULL))) {
        fv_dataset_free(train);
        fv_dataset_free(valid);
        fv_dataset_free(test);
    }
    fv_dataset_free(data);
    return 0;
}
