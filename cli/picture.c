/* Pictures of explanations: files by their endings, and the terminal. See picture.h. */
#include "picture.h"
#include "console.h"
#include "flags.h"

#include <stdio.h>

void cli_picture_resolve(fv_render_options *how) {
    if (!cli_given("columns")) how->columns = cli_width(stdout);
    if (!cli_given("colors") && !cli_use_color(stdout)) how->colors = "ascii";
}

fv_status cli_picture_check(const char *list) {
    size_t count, used = 0;
    char **path = cli_list_split(list, &count), known[256] = "";
    fv_status status = FV_OK;
    for (int i = 0; fv_renderer_at(i) && used < sizeof known; i++)
        used +=
            (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", fv_renderer_at(i)->extension);
    for (size_t i = 0; i < count && status == FV_OK; i++)
        if (!fv_renderer_find(path[i]))
            status = cli_fail(FV_USAGE, "--output: unknown kind of file\n  expected an ending of %s\n  found:   %s",
                              known, path[i]);
    cli_free(path);
    return status;
}

fv_status cli_picture_write(const fv_explanation *e, const char *list, const fv_render_options *how, size_t *count) {
    char **path = cli_list_split(list, count);
    fv_status status = FV_OK;
    for (size_t i = 0; i < *count && status == FV_OK; i++) {
        status = fv_render_file(e, path[i], how);
        if (status == FV_OK) cli_say("wrote %s", path[i]);
    }
    cli_free(path);
    return status;
}

static fv_status to_stdout(void *context, const void *bytes, size_t count) {
    (void)context;
    fwrite(bytes, 1, count, stdout);
    return FV_OK;
}

fv_status cli_picture_print(const fv_explanation *e, const fv_render_options *how) {
    return fv_render(e, "terminal", how, to_stdout, NULL);
}
