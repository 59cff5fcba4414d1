/* A whole model folder. The first byte says which of its three files the bytes are; the others are those of a good
 * model in $FOVEA_FUZZ_MODEL, or of what came before. What loads must predict, explain and save, or say why not. */
#include "fuzz/fuzz.h"

#include "fovea/explain.h"
#include "fovea/task.h"

static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json"};

static void copy_good(const char *name) {
    const char *good = getenv("FOVEA_FUZZ_MODEL");
    char path[512];
    fv__file file;
    snprintf(path, sizeof path, "%s/%s", good ? good : ".", name);
    if (fv__file_read(&file, path) != FV_OK) {
        fprintf(stderr, "FOVEA_FUZZ_MODEL=%s: %s\n", good ? good : "", fv_message());
        exit(2);
    }
    fuzz_put(name, file.data, file.size);
    fv__file_free(&file);
}

static void use(const fv_model *model) {
    static const char *const text[] = {"a good text", "", "[CLS] goal law"};
    const size_t size[] = {11, 0, 14};
    float *answer = fv__alloc_array(3, (size_t)fv_model_outputs(model) * sizeof *answer);
    char *line;
    fv_explanation *e;
    if (answer && fuzz_done(fv_model_predict(model, (fv_texts){3, text, size}, answer)) &&
        fuzz_done(fv_answer_line(&line, model, answer, NULL)))
        fv_text_free(line);
    if (fuzz_done(fv_explain(&e, model, text[2], size[2], NULL))) fv_explanation_free(e);
    fv__free(answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static bool ready;
    fv_model *model;
    if (size < 1) return 0;
    for (int i = 0; !ready && i < 3; i++) copy_good(files[i]);
    ready = true;
    const char *name = files[bytes[0] % 3];
    fuzz_put(name, bytes + 1, size - 1);
    if (fuzz_done(fv_model_load(&model, fuzz_folder()))) {
        use(model);
        fv_model_free(model);
    }
    if (!(bytes[0] & 128)) copy_good(name);
    return 0;
}
