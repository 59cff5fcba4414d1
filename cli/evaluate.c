/* What predict, eval and explain have in common. See evaluate.h. */
#include "evaluate.h"
#include "console.h"
#include "flags.h"
#include "folder.h"
#include "output.h"

#include <string.h>

/* A folder as given, else the run of that name. Freed with cli_free. */
static char *folder_of(const char *name) {
    char *folder = NULL;
    if (strcmp(name, "last") != 0 || cli_is_folder("runs")) cli_find_run(name, &folder);
    return folder ? folder : cli_text("%s", name);
}

fv_status cli_model_load(fv_model **model, const char *name) {
    if (!name) return cli_missing("model", "a model folder, such as runs/news");
    char *folder = folder_of(name);
    fv_status status = fv_model_load(model, folder);
    cli_free(folder);
    return status;
}

fv_status cli_model_inherit(const char *name) {
    static const char *const keys[] = {"text-col", "label-col", "label-prefix", "labels", NULL};
    if (!name) return FV_OK;
    char *folder = folder_of(name), *config = cli_join(folder, "config.yaml");
    fv_status status = cli_config_inherit(cli_current, config, keys);
    cli_free(folder);
    cli_free(config);
    return status;
}

fv_status cli_texts_read(fv_dataset **data, const char *list, const fv_dataset_options *options, fv_target_type target,
                         const fv_classes *classes) {
    if (!list || strcmp(list, "-") == 0) {
        char *bytes;
        size_t size;
        fv_status status = cli_read_stdin(&bytes, &size);
        if (status == FV_OK) status = fv_dataset_parse(data, "standard input", bytes, size, options, classes, target);
        cli_free(bytes);
        return status;
    }
    size_t count;
    char **path = cli_list_split(list, &count);
    fv_status status = fv_dataset_read_target(data, (const char *const *)path, (int)count, options, target, classes);
    cli_free(path);
    return status;
}
