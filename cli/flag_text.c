/* The help on the terminal, made from the flag tables. */
#include "flag_text.h"
#include "console.h"
#include "flags.h"
#include "output.h"

#include <math.h>
#include <string.h>

static void heading(FILE *out, const char *text) {
    fprintf(out, "\n%s%s%s\n", cli_color(out, "1"), text, cli_color(out, "0"));
}

void cli_help_overview(FILE *out, bool all) {
    int width = cli_width(out);
    cli_wrap(out, "fovea: train, run and look at attention models", 7, width);
    fputs("\nusage: fovea COMMAND [OPTIONS] [FILES]\n", out);
    heading(out, all ? "commands" : "commands most people need");
    for (size_t i = 0; cli_commands[i]; i++) {
        const cli_command *one = cli_commands[i];
        if (!all && !one->common) continue;
        fprintf(out, "  %-11s ", one->name);
        cli_wrap(out, one->summary, 14, width);
    }
    heading(out, "start here");
    fputs(
        "  fovea train reviews.csv --text-col text --label-col label\n"
        "  fovea predict runs/reviews < texts.txt\n"
        "  fovea explain runs/reviews \"not bad at all\"\n\n",
        out);
    cli_wrap(out,
             all ? "fovea COMMAND --help explains a command."
                 : "fovea COMMAND --help explains a command; fovea help all lists every command.",
             0, width);
}

/* ---- one flag */

const char *cli_help_hint(const cli_flag *flag) {
    const char *choices = flag->row->choices;
    switch (flag->row->type) {
    case FV_OPT_BOOL:
    case FV_OPT_NOT: return "";
    case FV_OPT_INT: return choices ? choices : "N";
    case FV_OPT_FLOAT: return choices ? choices : "X";
    default: return choices ? choices : "TEXT";
    }
}

/* Breaks a line before the column `width` behind a blank or a bar, and goes on at `indent`. Returns the column. */
static int put_broken(FILE *out, const char *text, int indent, int width) {
    int at = 0;
    while (*text) {
        size_t n = strcspn(text, "| ");
        n += text[n] != 0;
        while (at > indent && at + (int)n > width) {
            fprintf(out, "\n%*s", indent, "");
            at = indent;
        }
        fwrite(text, 1, n, out);
        at += (int)n, text += n;
    }
    return at;
}

/* "-b, --batch-size N" */
static int print_names(FILE *out, const cli_flags *flags, const cli_flag *flag, int width) {
    char letter = cli_flag_letter(flags, flag), text[512];
    const char *no = cli_flag_no(flag);
    int n = letter ? snprintf(text, sizeof text, "  -%c, --%s%s", letter, no, flag->name)
                   : snprintf(text, sizeof text, "      --%s%s", no, flag->name);
    if (*cli_help_hint(flag)) n += snprintf(text + n, sizeof text - (size_t)n, " %s", cli_help_hint(flag));
    if (n > width) return put_broken(out, text, 10, width);
    fputs(text, out);
    return n;
}

static void print_flag(FILE *out, const cli_flags *flags, const cli_flag *flag, int indent, int width) {
    char text[1024];
    int at = print_names(out, flags, flag, width);
    const char *standard = flag->row->standard;
    bool plain = !standard || !*standard || (cli_row_is_bool(flag->row) && strcmp(standard, "false") == 0);
    snprintf(text, sizeof text, plain ? "%s" : "%s [%s]", flag->row->help, standard);
    if (at + 2 > indent) {
        fputc('\n', out);
        at = 0;
    }
    for (; at < indent; at++) fputc(' ', out);
    cli_wrap(out, text, indent, width);
}

static void print_groups(FILE *out, const cli_flags *flags) {
    int width = cli_width(out), indent = width >= 70 ? 30 : 10;
    for (size_t g = 0; g < flags->groups; g++) {
        bool any = false;
        for (size_t i = 0; i < flags->count; i++) {
            const cli_flag *flag = &flags->flag[i];
            if (strcmp(flag->group->title, flags->group[g].title) != 0) continue;
            if (g > 0 && strcmp(flags->group[g - 1].title, flags->group[g].title) == 0) continue;
            if (!any) heading(out, flags->group[g].title);
            any = true;
            print_flag(out, flags, flag, indent, width);
        }
    }
}

static void print_lines(FILE *out, const char *prefix, const char *lines) {
    while (lines && *lines) {
        int n = (int)strcspn(lines, "\n");
        fprintf(out, "%s%.*s\n", prefix, n, lines);
        lines += n + (lines[n] == '\n');
    }
}

void cli_help_command(const cli_command *command, FILE *out) {
    cli_flags flags;
    char first[64];
    cli_flags_open(&flags, command);
    fprintf(out, "fovea %s: ", command->name);
    cli_wrap(out, command->summary, (int)strlen(command->name) + 8, cli_width(out));
    fputc('\n', out);
    snprintf(first, sizeof first, "usage: fovea %s ", command->name);
    const char *usage = command->usage;
    for (bool again = false; usage && *usage; again = true) {
        int n = (int)strcspn(usage, "\n");
        if (again) memset(first, ' ', 6);
        fprintf(out, "%s%.*s\n", first, n, usage);
        usage += n + (usage[n] == '\n');
    }
    if (command->about) {
        fputc('\n', out);
        cli_wrap(out, command->about, 0, cli_width(out));
    }
    print_groups(out, &flags);
    if (command->examples) {
        heading(out, "examples");
        print_lines(out, "  ", command->examples);
    }
    cli_flags_close(&flags);
}
