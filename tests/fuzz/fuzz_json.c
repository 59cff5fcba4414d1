/* JSON: parsed, written, and what was written parsed again. */
#include "fuzz/fuzz.h"

#include "io/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    fv__json *value, *again;
    if (!fuzz_done(fv__json_parse(&value, (const char *)bytes, size, "fuzz", FV_BAD_DATA))) return 0;
    for (int style = 0; style <= FV_JSON_HTML; style++) {
        fv__buf text = {0};
        if (fv__json_dump(value, (fv__json_style)style, &text) != FV_OK) abort();
        if (fv__json_parse(&again, text.data, text.size, "written", FV_BAD_DATA) != FV_OK) abort();
        fv__json_free(again);
        fv__buf_free(&text);
    }
    fv__json_free(value);
    return 0;
}
