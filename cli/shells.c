/* Completion for bash, zsh and fish, made from the flag tables: commands, flags, and for values the words that fit:
 * choices, presets, kinds of models, mechanisms, data sets, the runs under runs/, files. */
#include "console.h"
#include "flag_text.h"
#include "flags.h"
#include "fovea/attention.h"
#include "fovea/data.h"
#include "fovea/model.h"

#include <string.h>

/* What completes the value of a flag: one of `word` (freed with cli_free), a run, or a file. */
typedef struct value {
    char *word;
    bool run, file, any; /* any: nothing is offered */
} value;

static bool is(const char *a, const char *b) { return a && strcmp(a, b) == 0; }
static bool begins(const char *text, const char *start) { return text && strncmp(text, start, strlen(start)) == 0; }

static void add_word(char **list, const char *word, size_t size) {
    char *longer = cli_text("%s%s%.*s", *list ? *list : "", *list ? " " : "", (int)size, word);
    cli_free(*list);
    *list = longer;
}

static char *choices_of(const char *choices) {
    char *list = NULL;
    for (const char *at = choices; *at;) {
        const size_t n = strcspn(at, "|");
        add_word(&list, at, n);
        at += n + (at[n] == '|');
    }
    return list;
}

static char *preset_names(void) {
    char *list = NULL;
    const char *name;
    for (size_t i = 0; (name = cli_preset_name(i, NULL)); i++) add_word(&list, name, strlen(name));
    return list;
}

static char *kind_names(void) {
    char *list = NULL;
    for (size_t i = 0; i < fv_model_kind_count(); i++) {
        const char *name = fv_model_kind_at(i)->name;
        add_word(&list, name, strlen(name));
    }
    return list;
}

static char *mechanism_names(void) {
    char *list = NULL;
    for (size_t i = 0; i < fv_mechanism_count(); i++) {
        const char *name = fv_mechanism_at(i)->name;
        add_word(&list, name, strlen(name));
    }
    return list;
}

static char *dataset_names(void) {
    char *list = NULL;
    for (int i = 0; fv_recipe_at(i); i++) add_word(&list, fv_recipe_at(i)->name, strlen(fv_recipe_at(i)->name));
    return list;
}

static char *command_names(void) {
    char *list = NULL;
    for (size_t i = 0; cli_commands[i]; i++) add_word(&list, cli_commands[i]->name, strlen(cli_commands[i]->name));
    return list;
}

static value value_of(const cli_flag *flag) {
    const char *hint = flag->row->choices, *name = flag->name;
    const fv_option_type type = flag->row->type;
    if (cli_row_is_bool(flag->row)) return (value){.any = true};
    if (type == FV_OPT_CHOICE || type == FV_OPT_ENUM) return (value){.word = choices_of(hint ? hint : "")};
    if (is(name, "preset")) return (value){.word = preset_names()};
    if (is(hint, "KIND")) return (value){.word = kind_names()};
    if (is(hint, "TOPIC")) return (value){.word = command_names()};
    if (is(name, "attention") || is(name, "mechanism") || is(hint, "MECHANISM"))
        return (value){.word = mechanism_names()};
    if (is(hint, "DATASET")) return (value){.word = dataset_names()};
    if ((is(name, "model") || is(name, "resume")) && is(hint, "FOLDER")) return (value){.run = true};
    if (begins(hint, "FILE") || is(hint, "FOLDER")) return (value){.file = true};
    return (value){.any = true};
}

/* The flag that the first plain word after the command fills, or NULL. */
static const cli_flag *first_positional(cli_flags *flags) {
    char name[64];
    const char *list = flags->command->positional;
    if (!list) return NULL;
    size_t n = strcspn(list, " ");
    if (n > 3 && strncmp(list + n - 3, "...", 3) == 0) n -= 3;
    snprintf(name, sizeof name, "%.*s", (int)n, list);
    return cli_flag_find(flags, name);
}

/* ---- bash */

static void bash_value(FILE *out, const cli_flags *flags, const cli_flag *flag) {
    const value v = value_of(flag);
    const char letter = cli_flag_letter(flags, flag);
    if (v.word || v.run) {
        fprintf(out, "        --%s", flag->name);
        if (letter) fprintf(out, "|-%c", letter);
        if (v.run)
            fputs(") _fovea_runs \"$word\"; return ;;\n", out);
        else
            fprintf(out, ") COMPREPLY=($(compgen -W \"%s\" -- \"$word\")); return ;;\n", v.word);
    }
    cli_free(v.word);
}

static void bash_flags(FILE *out, const cli_flags *flags) {
    fputs("        flags=\"", out);
    for (size_t k = 0; k < flags->count; k++) {
        fprintf(out, "%s--%s", k ? " " : "", flags->flag[k].name);
        if (*cli_flag_no(&flags->flag[k])) fprintf(out, " --no-%s", flags->flag[k].name);
    }
    fputs("\"\n", out);
}

static void bash_command(FILE *out, const cli_command *command) {
    cli_flags flags;
    cli_flags_open(&flags, command);
    fprintf(out, "    %s)\n        case $before in\n", command->name);
    for (size_t k = 0; k < flags.count; k++) bash_value(out, &flags, &flags.flag[k]);
    fputs("        esac\n", out);
    bash_flags(out, &flags);
    const cli_flag *first = first_positional(&flags);
    if (first) {
        const value v = value_of(first);
        if (v.word) fprintf(out, "        plain=\"%s\"\n", v.word);
        if (v.run) fputs("        plain=runs\n", out);
        cli_free(v.word);
    }
    fputs("        ;;\n", out);
    cli_flags_close(&flags);
}

void cli_help_bash(FILE *out) {
    char *commands = command_names();
    fprintf(
        out,
        "# bash completion for fovea, made by `fovea completion bash`\n"
        "_fovea_runs() { COMPREPLY=($(compgen -W \"$(ls runs 2>/dev/null)\" -- \"$1\") $(compgen -d -- \"$1\")); }\n"
        "_fovea() {\n"
        "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}\n"
        "    local flags= plain=\n"
        "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        COMPREPLY=($(compgen -W \"%s\" -- \"$word\"))\n"
        "        return\n    fi\n    case $command in\n",
        commands);
    for (size_t i = 0; cli_commands[i]; i++) bash_command(out, cli_commands[i]);
    fputs(
        "    esac\n    case $word in\n    -*) COMPREPLY=($(compgen -W \"$flags\" -- \"$word\")); return ;;\n    esac\n"
        "    if [ \"$COMP_CWORD\" -eq 2 ] && [ \"$plain\" = runs ]; then _fovea_runs \"$word\"; return; fi\n"
        "    if [ \"$COMP_CWORD\" -eq 2 ] && [ -n \"$plain\" ]; then COMPREPLY=($(compgen -W \"$plain\" -- "
        "\"$word\")); return; fi\n"
        "    COMPREPLY=($(compgen -f -- \"$word\"))\n"
        "}\ncomplete -o filenames -F _fovea fovea\n",
        out);
    cli_free(commands);
}

/* ---- zsh */

/* Inside '...[text]': quotes end the string, brackets and colons the text. */
static void zsh_text(FILE *out, const char *text) {
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", out);
        else {
            if (strchr("[]:\\", *text)) fputc('\\', out);
            fputc(*text, out);
        }
    }
}

static void zsh_action(FILE *out, const cli_flag *flag) {
    const value v = value_of(flag);
    fputc(':', out);
    zsh_text(out, flag->name);
    fputc(':', out);
    if (v.word) fprintf(out, "(%s)", v.word);
    if (v.run) fputs("_fovea_runs", out);
    if (v.file) fputs("_files", out);
    cli_free(v.word);
}

static void zsh_flag(FILE *out, const cli_flags *flags, const cli_flag *flag) {
    const char letter = cli_flag_letter(flags, flag);
    const bool is_switch = cli_row_is_bool(flag->row), list = cli_flag_is_list(flag);
    for (int form = 0; form < 3; form++) {
        if ((form == 1 && !letter) || (form == 2 && !*cli_flag_no(flag))) continue;
        fprintf(out, "            '%s", list ? "*" : "");
        if (form == 1)
            fprintf(out, "-%c", letter);
        else
            fprintf(out, "--%s%s", form == 2 ? "no-" : "", flag->name);
        fputc('[', out);
        zsh_text(out, flag->row->help);
        fputc(']', out);
        if (!is_switch) zsh_action(out, flag);
        fputs("' \\\n", out);
    }
}

static void zsh_command(FILE *out, const cli_command *command) {
    cli_flags flags;
    cli_flags_open(&flags, command);
    fprintf(out, "        %s)\n            _arguments -s \\\n", command->name);
    for (size_t k = 0; k < flags.count; k++) zsh_flag(out, &flags, &flags.flag[k]);
    const cli_flag *first = first_positional(&flags);
    if (first) {
        fputs("            '1", out);
        zsh_action(out, first);
        fputs("' \\\n", out);
    }
    fputs("            '*:file:_files' ;;\n", out);
    cli_flags_close(&flags);
}

void cli_help_zsh(FILE *out) {
    fputs(
        "#compdef fovea\n# zsh completion for fovea, made by `fovea completion zsh`\n"
        "_fovea_runs() {\n    local -a runs\n    runs=(runs/*(N/:t))\n    compadd -a runs\n    _files -/\n}\n"
        "_fovea() {\n    local state line\n    typeset -A opt_args\n    local -a commands\n    commands=(\n",
        out);
    for (size_t i = 0; cli_commands[i]; i++) {
        fprintf(out, "        '%s:", cli_commands[i]->name);
        zsh_text(out, cli_commands[i]->summary);
        fputs("'\n", out);
    }
    fputs(
        "    )\n    _arguments -C '1:command:->command' '*::argument:->argument'\n    case $state in\n"
        "    command) _describe command commands ;;\n    argument)\n        case $line[1] in\n",
        out);
    for (size_t i = 0; cli_commands[i]; i++) zsh_command(out, cli_commands[i]);
    fputs(
        "        esac ;;\n    esac\n}\nif [ \"$funcstack[1]\" = _fovea ]; then _fovea \"$@\"; else compdef _fovea "
        "fovea; fi\n",
        out);
}

/* ---- fish */

static void fish_text(FILE *out, const char *text) {
    fputc('\'', out);
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\') fputc('\\', out);
        fputc(*text, out);
    }
    fputc('\'', out);
}

static void fish_value(FILE *out, const cli_flag *flag) {
    const value v = value_of(flag);
    if (v.word) fprintf(out, " -x -a '%s'", v.word);
    if (v.run) fputs(" -x -a '(ls runs 2>/dev/null) (__fish_complete_directories)'", out);
    if (v.file) fputs(" -r -F", out);
    if (v.any) fputs(" -x", out);
    cli_free(v.word);
}

static void fish_command(FILE *out, const cli_command *command) {
    cli_flags flags;
    cli_flags_open(&flags, command);
    for (size_t k = 0; k < flags.count; k++) {
        const cli_flag *flag = &flags.flag[k];
        const char letter = cli_flag_letter(&flags, flag);
        fprintf(out, "complete -c fovea -n '__fish_seen_subcommand_from %s' -l %s", command->name, flag->name);
        if (letter) fprintf(out, " -s %c", letter);
        if (!cli_row_is_bool(flag->row)) fish_value(out, flag);
        fputs(" -d ", out);
        fish_text(out, flag->row->help);
        fputc('\n', out);
        if (*cli_flag_no(flag))
            fprintf(out, "complete -c fovea -n '__fish_seen_subcommand_from %s' -l no-%s\n", command->name, flag->name);
    }
    const cli_flag *first = first_positional(&flags);
    const value v = first ? value_of(first) : (value){.any = true};
    if (v.word || v.run) {
        fprintf(out, "complete -c fovea -n '__fish_seen_subcommand_from %s' -a '%s'\n", command->name,
                v.word ? v.word : "(ls runs 2>/dev/null)");
    }
    cli_free(v.word);
    cli_flags_close(&flags);
}

void cli_help_fish(FILE *out) {
    fputs("# fish completion for fovea, made by `fovea completion fish`\n", out);
    for (size_t i = 0; cli_commands[i]; i++) {
        fprintf(out, "complete -c fovea -f -n __fish_use_subcommand -a %s -d ", cli_commands[i]->name);
        fish_text(out, cli_commands[i]->summary);
        fputc('\n', out);
    }
    for (size_t i = 0; cli_commands[i]; i++) fish_command(out, cli_commands[i]);
}
