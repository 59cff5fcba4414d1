/* fovea mechanisms: the table of attention mechanisms, or everything about one of them. */
#include "command.h"
#include "console.h"
#include "flags.h"
#include "fovea/attention.h"
#include "mechanism.h"
#include "output.h"

#include <string.h>

static struct options { const char *name; } o;
static const fv_option rows[] = {{"name", FV_OPT_STRING, offsetof(struct options, name), NULL, 0, 0, "MECHANISM",
                                  "only this mechanism, with its parameters"},
                                 {0}};

static size_t groups(cli_group *group) {
    group[0] = (cli_group){"options", rows, &o, NULL};
    return 1;
}

static const struct {
    uint32_t bit;
    const char *word;
} abilities[] = {{FV_CAN_BACKWARD, "backward"}, {FV_CAN_CAUSAL, "causal"}, {FV_CAN_GQA, "gqa"},
                 {FV_CAN_VARLEN, "varlen"},     {FV_CAN_KV_LEN, "kv_len"}, {FV_CAN_WEIGHTS, "weights"},
                 {FV_CAN_DROPOUT, "dropout"},   {FV_CAN_SELF, "gate"},     {FV_CAN_BLOCKS, "blocks"},
                 {FV_CAN_DECODE, "decode"}};

static const char *can_text(uint32_t can, const char *joint, char *text, size_t size) {
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < sizeof abilities / sizeof *abilities && used < size; i++)
        if (can & abilities[i].bit)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? joint : "", abilities[i].word);
    return text;
}

static const char *operands_text(const fv_mechanism *m, uint64_t bits, char *text, size_t size) {
    size_t used = 0;
    text[0] = 0;
    for (int operand = 0; operand < FV_OPERANDS && used < size; operand++)
        if (bits >> operand & 1)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? " " : "", cli_operand_name(m, operand));
    return text;
}

/* ---- text */

static void show(const fv_mechanism *m) {
    char text[256];
    int width = cli_width(stdout);
    printf("%s%s%s: ", cli_color(stdout, "1"), m->name, cli_color(stdout, "0"));
    cli_wrap(stdout, m->summary, (int)strlen(m->name) + 2, width);
    printf("  from       ");
    cli_wrap(stdout, m->citation, 13, width);
    printf("  cost       %s\n", m->cost);
    printf("  needs      %s\n", operands_text(m, m->needs, text, sizeof text));
    if (m->takes) printf("  also takes %s\n", operands_text(m, m->takes, text, sizeof text));
    printf("  can        %s\n", can_text(m->can, " ", text, sizeof text));
    for (const fv_option *row = m->params; row && row->name; row++) {
        printf("  :%s=%s  ", row->name, row->standard ? row->standard : "");
        cli_wrap(stdout, row->help, 13, width);
    }
}

static void table(cli_format format) {
    static const char *const columns[] = {"name", "cost", "can", "summary"};
    cli_table *t = cli_table_new(columns, 4);
    for (size_t i = 0; i < fv_mechanism_count(); i++) {
        const fv_mechanism *m = fv_mechanism_at(i);
        char text[256];
        cli_table_text(t, m->name);
        cli_table_text(t, m->cost);
        cli_table_text(t, can_text(m->can, " ", text, sizeof text));
        cli_table_text(t, m->summary);
    }
    cli_table_print(t, format, stdout);
    cli_table_free(t);
}

/* ---- json */

static void member(const char *key, const char *value, const char *before) {
    printf("%s\"%s\": ", before, key);
    cli_json_text(stdout, value ? value : "", value ? strlen(value) : 0);
}

/* "a b c" -> ["a", "b", "c"] */
static void words(const char *key, const char *text) {
    printf(", \"%s\": [", key);
    for (bool first = true; *text; first = false) {
        size_t n = strcspn(text, " ");
        fputs(first ? "" : ", ", stdout);
        cli_json_text(stdout, text, n);
        text += n + (text[n] == ' ');
    }
    putchar(']');
}

static void json(const fv_mechanism *m) {
    char text[256];
    member("name", m->name, "{");
    member("summary", m->summary, ", ");
    member("citation", m->citation, ", ");
    member("cost", m->cost, ", ");
    words("needs", operands_text(m, m->needs, text, sizeof text));
    words("takes", operands_text(m, m->takes, text, sizeof text));
    words("can", can_text(m->can, " ", text, sizeof text));
    fputs(", \"parameters\": [", stdout);
    for (const fv_option *row = m->params; row && row->name; row++) {
        member("name", row->name, row == m->params ? "{" : ", {");
        member("default", row->standard, ", ");
        member("help", row->help, ", ");
        putchar('}');
    }
    fputs("]}", stdout);
}

static fv_status run(void) {
    cli_format format = cli_format_of(cli_global.format);
    const fv_mechanism *one = NULL;
    if (o.name && cli_mechanism_find(o.name, &one) != FV_OK) return FV_USAGE;
    bool objects = format == CLI_JSON || format == CLI_JSONL;
    if (one && !objects)
        show(one);
    else if (!objects)
        table(format);
    else if (one)
        json(one), putchar('\n');
    else {
        if (format == CLI_JSON) fputs("[\n", stdout);
        for (size_t i = 0; i < fv_mechanism_count(); i++) {
            if (i) fputs(format == CLI_JSON ? ",\n" : "\n", stdout);
            json(fv_mechanism_at(i));
        }
        fputs(format == CLI_JSON ? "\n]\n" : "\n", stdout);
    }
    return FV_OK;
}

const cli_command cmd_mechanisms = {
    .name = "mechanisms",
    .summary = "list the attention mechanisms, or explain one",
    .usage = "[NAME]",
    .positional = "name",
    .examples = "fovea mechanisms\nfovea mechanisms topk\nfovea mechanisms --format json",
    .common = true,
    .groups = groups,
    .run = run,
};
