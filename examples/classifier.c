/* A text classifier, trained and asked: cc classifier.c $(pkg-config --cflags --libs fovea)
 *
 *     ./classifier FILE.tsv 'a text'   learns from the columns `label` and `text` of FILE, prints the class of the text
 *
 * A share of the texts chooses the best epoch. fv_model_save(model, folder) would keep the model for the command
 * `fovea`. */
#include <fovea/fovea.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From a file to a trained model, which the caller frees. */
static fv_status learn(fv_model **model, const char *path) {
    fv_dataset *all = NULL, *train = NULL, *valid = NULL;
    fv_split_options split;
    fv_train_setup how;
    fv_options_init(fv_split_option_rows(), &split);
    split.split = "stratified", split.valid = 0.1, split.test = 0;
    fv_status status = fv_train_setup_init(&how, "attention");
    how.train.epochs = 20;
    how.train.batch_size = 4;
    if (status == FV_OK) status = fv_dataset_read(&all, &path, 1, NULL, NULL);
    if (status == FV_OK) status = fv_dataset_split(&train, &valid, NULL, all, &split);
    if (status == FV_OK) status = fv_train(model, NULL, train, valid, &how);
    fv_dataset_free(valid);
    fv_dataset_free(train);
    fv_dataset_free(all);
    return status;
}

/* The most probable class of one text. */
static fv_status ask(const fv_model *model, const char *text) {
    const fv_classes classes = fv_model_classes(model);
    const size_t size = strlen(text);
    float *probability = malloc((size_t)classes.count * sizeof *probability);
    if (!probability) return FV_NO_RESOURCES;
    fv_status status = fv_model_predict(model, (fv_texts){1, &text, &size}, probability);
    int best = 0;
    for (int c = 1; c < classes.count; c++)
        if (probability[c] > probability[best]) best = c;
    if (status == FV_OK) printf("%s (probability %.3f)\n", classes.name[best], probability[best]);
    free(probability);
    return status;
}

int main(int argc, char **argv) {
    fv_model *model = NULL;
    if (argc != 3) {
        fprintf(stderr, "usage: classifier FILE.tsv TEXT\n");
        return FV_USAGE;
    }
    fv_status status = learn(&model, argv[1]);
    if (status == FV_OK) status = ask(model, argv[2]);
    if (status != FV_OK) fprintf(stderr, "classifier: %s\n", fv_message());
    fv_model_free(model);
    return status;
}
