/* The command line of one command: words become flags and positional values. One option may be written
 * --batch-size 32, --batch-size=32, --batch_size 32, -batch-size 32 or batch-size=32. */
#include "console.h"
#include "flags.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A word taken apart: -v, --name, --name=value, name=value. */
typedef struct word {
    const char *text, *value;   /* value: after '=', NULL: none */
    char name[128], shown[132]; /* name without dashes; shown as the user wrote it, without the value */
    int dashes;
    bool implied; /* the value of a switch that was given without one */
} word;

static void take_apart(word *w, const char *text) {
    memset(w, 0, sizeof *w);
    w->text = text;
    while (w->dashes < 2 && text[w->dashes] == '-') ++w->dashes;
    const char *name = text + w->dashes, *equal = strchr(name, '=');
    w->value = equal ? equal + 1 : NULL;
    snprintf(w->name, sizeof w->name, "%.*s", (int)(equal ? equal - name : (long)strlen(name)), name);
    snprintf(w->shown, sizeof w->shown, "%.*s%s", w->dashes, "--", w->name);
}

static bool is_name(const char *text) {
    if (!isalpha((unsigned char)*text)) return false;
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && *text != '-' && *text != '_') return false;
    return true;
}

static bool all_v(const char *name) { return name[0] == 'v' && strspn(name, "v") == strlen(name); }

/* The flag of a word; `value` becomes "true" or "false" for --flag and --no-flag. */
static cli_flag *lookup(cli_flags *flags, word *w) {
    bool letter = w->name[0] && !w->name[1];
    cli_flag *flag = w->dashes == 1 && letter ? cli_flag_short(flags, w->name[0]) : NULL;
    if (!flag) flag = cli_flag_find(flags, w->name);
    if (!flag && letter) flag = cli_flag_short(flags, w->name[0]);
    if (!flag && w->dashes && strncmp(w->name, "no-", 3) == 0 && !w->value) {
        flag = cli_flag_find(flags, w->name + 3);
        if (flag && cli_row_is_bool(flag->row))
            w->value = "false";
        else
            flag = NULL;
    }
    if (flag && cli_row_is_bool(flag->row) && !w->value) w->value = "true", w->implied = true;
    return flag;
}

/* Flags of fastText's command line, with one dash, that mean something else here, or nothing. */
static const char *fasttext_hint(const word *w) {
    static const char *const hints[][2] = {
        {"bucket",
         "fastText's number of hash buckets is --ngram-bits N here, 2^N of them; -bucket 2000000 is about "
         "--ngram-bits 21"},
        {"loss", "classes are learnt by softmax; there is no other loss to choose"},
        {"neg", "there is no negative sampling: softmax is computed in full"},
        {"t", "frequent words are not sampled; word vectors weigh them by --vector-power"},
        {"lr-update-rate", "the schedule of the learning rate is --schedule"},
        {"ws", "fastText's window is --vector-window here, with --task vectors"},
        {"min-count-label", "rare classes are kept"},
        {"save-output", "the model folder holds everything"},
        {"cutoff", "models are not quantized"},
        {"retrain", "models are not quantized"},
        {"qnorm", "models are not quantized"},
        {"qout", "models are not quantized"},
        {"dsub", "models are not quantized"},
        {NULL, NULL}};
    char name[128];
    cli_normalise(w->name, name, sizeof name);
    if (strncmp(name, "autotune-", 9) == 0) return "parameters are not searched for";
    for (size_t i = 0; w->dashes == 1 && hints[i][0]; i++)
        if (strcmp(hints[i][0], name) == 0) return hints[i][1];
    return NULL;
}

static const char *owners(const char *name, char *text, size_t size) {
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; cli_commands[i]; i++) {
        cli_flags other;
        cli_flags_open(&other, cli_commands[i]);
        if (cli_flag_find(&other, name) && used < size)
            used += (size_t)snprintf(text + used, size - used, "%sfovea %s", used ? ", " : "", cli_commands[i]->name);
        cli_flags_close(&other);
    }
    return text;
}

static fv_status unknown(const cli_flags *flags, const word *w) {
    const char **names = cli_alloc((flags->count + 64) * sizeof *names);
    size_t count = 0;
    for (size_t i = 0; i < flags->count; i++) names[count++] = flags->flag[i].name;
    char near[512], others[256];
    const char *command = flags->command->name;
    bool found = cli_nearest(w->name, names, count, w->dashes ? "--" : "", near, sizeof near);
    cli_free(names);
    if (found) return cli_fail(FV_USAGE, "unknown option %s (%s)      did you mean %s?", w->shown, command, near);
    if (*owners(w->name, others, sizeof others))
        return cli_fail(FV_USAGE, "unknown option %s (%s)\n  it belongs to: %s", w->shown, command, others);
    return cli_fail(FV_USAGE, "unknown option %s (%s)\n  try:     fovea %s --help", w->shown, command, command);
}

/* Does this word stand where a value should be, although it is certainly a flag? */
static bool is_flag(cli_flags *flags, const char *text) {
    word w;
    take_apart(&w, text);
    if (w.dashes == 0 || !w.name[0] || isdigit((unsigned char)w.name[0]) || w.name[0] == '.') return false;
    return lookup(flags, &w) != NULL;
}

static fv_status set(cli_flags *flags, cli_flag *flag, const word *w) {
    bool number = w->value && *w->value && strspn(w->value, "0123456789") == strlen(w->value);
    if (strcmp(flag->name, "config") == 0 && number)
        return cli_fail(FV_USAGE, "%s %s: no such file      did you mean --ctx-size %s? -c is --config here", w->shown,
                        w->value, w->value);
    return cli_flag_set(flags, flag, w->value, CLI_LINE, w->shown);
}

/* ---- positional words */

/* The next flag of the command's positional list that is still free; NULL: none. */
static cli_flag *next_positional(cli_flags *flags, const char **list) {
    while (*list && **list) {
        char name[64];
        size_t n = strcspn(*list, " ");
        bool rest = n > 3 && strncmp(*list + n - 3, "...", 3) == 0;
        snprintf(name, sizeof name, "%.*s", (int)(rest ? n - 3 : n), *list);
        cli_flag *flag = cli_flag_find(flags, name);
        if (rest) return flag;
        *list += n + ((*list)[n] == ' ');
        if (flag && flag->source != CLI_LINE) return flag;
    }
    return NULL;
}

static fv_status fill_positional(cli_flags *flags, char **words, int count) {
    const char *list = flags->command->positional;
    for (int i = 0; i < count; i++) {
        cli_flag *flag = next_positional(flags, &list);
        if (!flag)
            return cli_fail(
                FV_USAGE,
                "too many arguments\n  expected fovea %s %.*s\n  found:   \"%s\" more\n  try:     fovea %s --help",
                flags->command->name, (int)strcspn(flags->command->usage, "\n"), flags->command->usage, words[i],
                flags->command->name);
        char where[160];
        snprintf(where, sizeof where, "%s", flag->name);
        fv_status status = cli_flag_set(flags, flag, words[i], CLI_LINE, where);
        if (status != FV_OK) return status;
    }
    return FV_OK;
}

/* ---- all of it */

typedef struct line {
    cli_flags *flags;
    char **argv, **words; /* words: positional ones */
    int argc, at, count;
} line;

/* --lowercase false: the word after a switch belongs to it when it can only be its value */
static bool is_truth(const char *text) { return strcasecmp(text, "true") == 0 || strcasecmp(text, "false") == 0; }

static fv_status take_flag(line *l, word *w) {
    cli_flag *flag = lookup(l->flags, w);
    const char *hint = w->name[1] || !flag ? fasttext_hint(w) : NULL;
    if (hint)
        return cli_fail(FV_USAGE, "option %s (%s) is one of fastText's\n  %s", w->shown, l->flags->command->name, hint);
    if (w->dashes == 1 && all_v(w->name) && (!flag || strcmp(flag->name, "verbose") == 0)) {
        cli_global.verbose += (int64_t)strlen(w->name);
        return FV_OK;
    }
    if (!flag) return unknown(l->flags, w);
    if (w->implied && l->at < l->argc && is_truth(l->argv[l->at])) w->value = l->argv[l->at++];
    if (!w->value) {
        if (l->at >= l->argc || is_flag(l->flags, l->argv[l->at]))
            return cli_fail(FV_USAGE, "option %s needs a value%s%s\n  %s", w->shown, flag->row->choices ? ": " : "",
                            flag->row->choices ? flag->row->choices : "", flag->row->help);
        w->value = l->argv[l->at++];
    }
    return set(l->flags, flag, w);
}

/* name=value without dashes is an option when the name is one, or looks like a misspelt one. */
static fv_status take_word(line *l, word *w) {
    bool option = w->value && is_name(w->name);
    cli_flag *flag = option ? lookup(l->flags, w) : NULL;
    if (flag) return set(l->flags, flag, w);
    if (option) {
        const char *names[256];
        char near[256];
        size_t count = 0;
        for (; count < l->flags->count && count < 256; count++) names[count] = l->flags->flag[count].name;
        if (cli_nearest(w->name, names, count, "", near, sizeof near)) return unknown(l->flags, w);
    }
    l->words[l->count++] = (char *)w->text;
    return FV_OK;
}

fv_status cli_args_apply(cli_flags *flags, int argc, char **argv) {
    line l = {flags, argv, cli_keep(cli_alloc((size_t)(argc + 1) * sizeof(char *))), argc, 0, 0};
    bool only_words = false;
    while (l.at < argc) {
        word w;
        take_apart(&w, argv[l.at++]);
        fv_status status = FV_OK;
        bool plain = only_words || !w.name[0] || (w.dashes == 1 && isdigit((unsigned char)w.name[0]));
        if (!only_words && strcmp(w.text, "--") == 0)
            only_words = true;
        else if (plain)
            l.words[l.count++] = (char *)w.text;
        else
            status = w.dashes ? take_flag(&l, &w) : take_word(&l, &w);
        if (status != FV_OK) return status;
    }
    if (cli_global.help) return FV_OK;
    return fill_positional(flags, l.words, l.count);
}
