/* Documents made from the flag tables: the man page and the option tables in Markdown. */
#include "console.h"
#include "flags.h"
#include "flag_text.h"

#include <ctype.h>
#include <string.h>

/* ---- man page */

static void roff(FILE *out, const char *text) {
    bool start = true;
    for (; text && *text; text++) {
        if (start && (*text == '.' || *text == '\'')) fputs("\\&", out);
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
        start = *text == '\n';
    }
}

static void roff_lines(FILE *out, const char *prefix, const char *lines) {
    fputs(".nf\n", out);
    while (lines && *lines) {
        char line[512];
        int n = (int)strcspn(lines, "\n");
        snprintf(line, sizeof line, "%s%.*s", prefix, n, lines);
        roff(out, line);
        fputc('\n', out);
        lines += n + (lines[n] == '\n');
    }
    fputs(".fi\n", out);
}

static void man_flag(FILE *out, const cli_flags *flags, const cli_flag *flag) {
    char letter = cli_flag_letter(flags, flag);
    const char *standard = flag->row->standard;
    fputs(".TP\n.B ", out);
    if (letter) fprintf(out, "\\-%c, ", letter);
    fputs("\\-\\-", out);
    roff(out, cli_flag_no(flag));
    roff(out, flag->name);
    if (!cli_row_is_bool(flag->row)) {
        fputc(' ', out);
        roff(out, cli_help_hint(flag));
    }
    fputc('\n', out);
    roff(out, flag->row->help);
    if (standard && *standard) {
        fputs(" [", out);
        roff(out, standard);
        fputc(']', out);
    }
    fputc('\n', out);
}

static bool in_group(const cli_flags *flags, const cli_flag *flag, bool global) {
    (void)flags;
    return (flag->group->rows == cli_global_rows) == global;
}

static void man_flags(FILE *out, const cli_command *command, bool global) {
    cli_flags flags;
    cli_flags_open(&flags, command);
    for (size_t i = 0; i < flags.count; i++)
        if (in_group(&flags, &flags.flag[i], global)) man_flag(out, &flags, &flags.flag[i]);
    cli_flags_close(&flags);
}

static void man_command(FILE *out, const cli_command *command) {
    char prefix[64];
    fprintf(out, ".SS %s\n", command->name);
    roff(out, command->summary);
    fputs("\n.PP\n", out);
    snprintf(prefix, sizeof prefix, "fovea %s ", command->name);
    roff_lines(out, prefix, command->usage);
    if (command->about) {
        fputs(".PP\n", out);
        roff(out, command->about);
        fputc('\n', out);
    }
    man_flags(out, command, false);
    if (command->examples) {
        fputs(".PP\nExamples:\n.PP\n", out);
        roff_lines(out, "", command->examples);
    }
}

static const char man_head[] =
    ".TH FOVEA 1 \"\" \"fovea %s\" \"User Commands\"\n.SH NAME\nfovea \\- train, run and look at attention models\n"
    ".SH SYNOPSIS\n.B fovea\nCOMMAND [OPTIONS] [FILES]\n"
    ".SH DESCRIPTION\nResults go to standard output, everything else to standard error.\n"
    "An option may be written \\-\\-batch\\-size 32, \\-\\-batch\\-size=32, \\-\\-batch_size 32, "
    "\\-batch\\-size 32 or batch\\-size=32.\n.SH COMMANDS\n";
static const char man_tail[] =
    ".SH CONFIGURATION\nEvery option is also a key of the YAML files given by \\-\\-config and an environment name "
    "(FOVEA_BATCH_SIZE for \\-\\-batch\\-size). Built\\-in values are weakest, then presets, files, the "
    "environment, and the command line.\n.SH EXIT STATUS\n";
static const struct {
    int code;
    const char *meaning;
} codes[] = {{0, "success"},
             {1, "failed while running"},
             {2, "wrong usage: a flag, command or key"},
             {3, "bad or missing input data"},
             {4, "bad or unsupported model"},
             {5, "out of memory or disk space"},
             {6, "training diverged; the last good state is named"},
             {7, "a metric is below --fail-under"},
             {130, "interrupted (143: terminated), state saved"}};

void cli_help_man(FILE *out) {
    fprintf(out, man_head, fv_version());
    for (size_t i = 0; cli_commands[i]; i++) man_command(out, cli_commands[i]);
    fputs(".SH OPTIONS OF EVERY COMMAND\n", out);
    man_flags(out, cli_commands[0], true);
    fputs(man_tail, out);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        fprintf(out, ".TP\n%d\n", codes[i].code);
        roff(out, codes[i].meaning);
        fputc('\n', out);
    }
    fputs(
        ".SH ENVIRONMENT\n.TP\nFOVEA_ISA\nscalar, avx2, avx512 or neon: the kernels to "
        "use.\n.TP\nFOVEA_THREADS\nthreads "
        "when "
        "\\-\\-threads is not given.\n.TP\nNO_COLOR\nno colours.\n",
        out);
}

/* ---- markdown */

static void md_cell(FILE *out, const char *text) {
    for (; text && *text; text++) {
        if (*text == '|' || *text == '<') fputc('\\', out);
        fputc(*text, out);
    }
}

static void md_flag(FILE *out, const cli_flags *flags, const cli_flag *flag) {
    char letter = cli_flag_letter(flags, flag);
    const char *standard = flag->row->standard;
    fprintf(out, "| `--%s%s", cli_flag_no(flag), flag->name);
    if (letter) fprintf(out, " -%c", letter);
    fputs("` | ", out);
    md_cell(out, cli_help_hint(flag));
    fputs(" | ", out);
    md_cell(out, standard ? standard : "");
    fputs(" | ", out);
    md_cell(out, flag->row->help);
    for (size_t i = 0; fv_option_alias(flag->name, i); i++)
        fprintf(out, "%s`%s`", i ? ", " : "; also ", fv_option_alias(flag->name, i));
    fputs(" |\n", out);
}

static void md_flags(FILE *out, const cli_command *command, bool global) {
    cli_flags flags;
    cli_flags_open(&flags, command);
    bool any = false;
    for (size_t i = 0; i < flags.count; i++) {
        if (!in_group(&flags, &flags.flag[i], global)) continue;
        if (!any) fputs("\n| option | value | default | meaning |\n| --- | --- | --- | --- |\n", out);
        any = true;
        md_flag(out, &flags, &flags.flag[i]);
    }
    cli_flags_close(&flags);
}

void cli_help_markdown(FILE *out) {
    fputs("# Commands of fovea\n\nMade by `make docs` from the program's own tables: do not edit.\n", out);
    for (size_t i = 0; cli_commands[i]; i++) {
        const cli_command *one = cli_commands[i];
        fprintf(out, "\n## fovea %s\n\n%s\n\n```\n", one->name, one->summary);
        for (const char *line = one->usage; line && *line;) {
            int n = (int)strcspn(line, "\n");
            fprintf(out, "fovea %s %.*s\n", one->name, n, line);
            line += n + (line[n] == '\n');
        }
        fputs("```\n", out);
        if (one->about) fprintf(out, "\n%s\n", one->about);
        md_flags(out, one, false);
        if (one->examples) fprintf(out, "\n```console\n%s\n```\n", one->examples);
    }
    fputs("\n## Options of every command\n", out);
    md_flags(out, cli_commands[0], true);
}
