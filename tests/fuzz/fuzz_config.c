/* A configuration file of `fovea train`, given by somebody or found in a run folder; and what would be saved of it. */
#include "fuzz/fuzz.h"

#include "../../cli/command.h"
#include "../../cli/flags.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    cli_flags flags;
    if (size < 1) return 0;
    const cli_command *train = cli_commands[0];
    for (size_t i = 0; cli_commands[i]; i++)
        if (strcmp(cli_commands[i]->name, "train") == 0) train = cli_commands[i];
    cli_flags_open(&flags, train);
    cli_flags_defaults(&flags, true);
    cli_current = &flags;
    if (cli_config_read(&flags, fuzz_file(0, bytes + 1, size - 1), bytes[0] & 1) == FV_OK) {
        char *text = cli_config_text(&flags);
        cli_flags again;
        cli_flags_open(&again, train);
        cli_flags_defaults(&again, true);
        if (cli_config_read(&again, fuzz_file(1, text, strlen(text)), false) != FV_OK) abort();
        char *same = cli_config_text(&again);
        if (strcmp(text, same) != 0) abort();
        cli_flags_close(&again);
        free(same);
        free(text);
    }
    cli_flags_close(&flags);
    return 0;
}
