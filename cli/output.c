/* What goes to stdout: one table printer for every format. See output.h. */
#include "output.h"
#include "console.h"
#include "fovea/explain.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct cell {
    char *text, *shown; /* as it is, for JSON, which has its own escapes; and for all other formats */
    bool number;
} cell;

struct cli_table {
    const char *const *column;
    size_t columns, cells, room;
    cell *cell;
};

cli_format cli_format_of(const char *name) {
    static const char *const names[] = {"text", "tsv", "json", "jsonl", "csv", "md"};
    for (int i = 0; i < 6; i++)
        if (name && strcmp(name, names[i]) == 0) return (cli_format)i;
    return CLI_TEXT;
}

/* ---- text in its quotes */

/* Length of the valid UTF-8 character at c, 0 when there is none. */
static size_t utf8_at(const unsigned char *c, size_t left) {
    static const unsigned least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = *c < 0x80 ? 1 : *c >> 5 == 6 ? 2 : *c >> 4 == 14 ? 3 : *c >> 3 == 30 ? 4 : 0;
    if (n == 0 || n > left) return 0;
    unsigned code = n == 1 ? *c : *c & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (c[i] >> 6 != 2) return 0;
        code = code << 6 | (c[i] & 0x3f);
    }
    bool bad = code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000);
    return bad ? 0 : n;
}

void cli_json_text(FILE *out, const char *text, size_t size) {
    const unsigned char *c = (const unsigned char *)text, *end = c + size;
    fputc('"', out);
    while (c < end) {
        size_t n = utf8_at(c, (size_t)(end - c));
        if (n == 0)
            fputs("\\ufffd", out);
        else if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else if (*c == '\n')
            fputs("\\n", out);
        else if (*c == '\t')
            fputs("\\t", out);
        else if (*c < 0x20 || *c == 0x7f)
            fprintf(out, "\\u%04x", *c);
        else if (*c == 0xc2 && c[1] < 0xa0)
            fprintf(out, "\\u%04x", c[1]);
        else
            fwrite(c, 1, n, out);
        c += n ? n : 1;
    }
    fputc('"', out);
}

void cli_tsv_text(FILE *out, const char *text) {
    for (; *text; text++) fputc(*text == '\t' || *text == '\n' || *text == '\r' ? ' ' : *text, out);
}

void cli_json_number(FILE *out, double value, int decimals) {
    if (isfinite(value))
        fprintf(out, "%.*f", decimals, value);
    else
        fputs("null", out);
}

static void csv_text(FILE *out, const char *text) {
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"') fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static void md_text(FILE *out, const char *text) {
    for (; *text; text++) {
        if (*text == '|') fputc('\\', out);
        fputc(*text == '\n' ? ' ' : *text, out);
    }
}

/* ---- table */

cli_table *cli_table_new(const char *const *columns, size_t count) {
    cli_table *table = cli_alloc(sizeof *table);
    table->column = columns;
    table->columns = count;
    return table;
}

static void add_cell(cli_table *table, char *text, bool number) {
    if (table->cells == table->room) {
        table->room = table->room ? 2 * table->room : 64;
        table->cell = cli_realloc(table->cell, table->room * sizeof *table->cell);
    }
    table->cell[table->cells++] = (cell){text, cli_shown(text), number};
}

void cli_table_text(cli_table *table, const char *text) { add_cell(table, cli_text("%s", text ? text : ""), false); }
void cli_table_number(cli_table *table, double value, int decimals) {
    add_cell(table, isfinite(value) ? cli_text("%.*f", decimals, value) : cli_text("-"), true);
}

void cli_table_free(cli_table *table) {
    if (!table) return;
    for (size_t i = 0; i < table->cells; i++) {
        cli_free(table->cell[i].text);
        cli_free(table->cell[i].shown);
    }
    cli_free(table->cell);
    cli_free(table);
}

static int columns_of(const char *text) { return (int)fv_text_columns(text, strlen(text)); }

static void pad(FILE *out, int count) {
    while (count-- > 0) fputc(' ', out);
}

void cli_wrap(FILE *out, const char *text, int indent, int width) {
    int at = indent, room = width > indent + 10 ? width : indent + 10;
    bool first = true;
    while (*text) {
        size_t bytes = strcspn(text, " \n");
        char word[256];
        snprintf(word, sizeof word, "%.*s", (int)bytes, text);
        int columns = columns_of(word);
        if (!first && at + 1 + columns >= room) {
            fputc('\n', out);
            pad(out, indent);
            at = indent;
        } else if (!first) {
            fputc(' ', out);
            ++at;
        }
        fwrite(text, 1, bytes, out);
        at += columns;
        first = false;
        text += bytes;
        while (*text == ' ' || *text == '\n') ++text;
    }
    fputc('\n', out);
}

/* Where the columns do not fit side by side: a line for each cell, its column before it. */
static void print_records(const cli_table *table, FILE *out, int total) {
    int widest = 0;
    for (size_t c = 0; c < table->columns; c++)
        if (columns_of(table->column[c]) > widest) widest = columns_of(table->column[c]);
    for (size_t i = 0; i < table->cells; i++) {
        const size_t c = i % table->columns;
        if (i && c == 0) fputc('\n', out);
        fputs(table->column[c], out);
        pad(out, widest - columns_of(table->column[c]) + 2);
        cli_wrap(out, *table->cell[i].text ? table->cell[i].text : " ", widest + 2, total);
    }
}

static void print_text(const cli_table *table, FILE *out) {
    int *width = cli_alloc(table->columns * sizeof *width);
    for (size_t c = 0; c < table->columns; c++) width[c] = columns_of(table->column[c]);
    for (size_t i = 0; i < table->cells; i++) {
        int columns = columns_of(table->cell[i].shown);
        if (columns > width[i % table->columns]) width[i % table->columns] = columns;
    }
    size_t rows = table->cells / table->columns, last = table->columns - 1;
    int total = cli_is_terminal(out) ? cli_width(out) : 1 << 20;
    int before = 0;
    for (size_t c = 0; c < last; c++) before += width[c] + 2;
    if (before + 16 > total) {
        cli_free(width);
        print_records(table, out, total);
        return;
    }
    for (size_t r = 0; r <= rows; r++) {
        int at = 0;
        for (size_t c = 0; c <= last; c++) {
            const cell *one = r ? &table->cell[(r - 1) * table->columns + c] : NULL;
            const char *text = one ? one->shown : table->column[c];
            bool right = rows && table->cell[c].number;
            if (r == 0 && c == 0) fputs(cli_color(out, "1"), out);
            if (right) pad(out, width[c] - columns_of(text));
            if (c == last)
                cli_wrap(out, *text ? text : " ", at, total);
            else
                fputs(text, out);
            if (c < last) pad(out, (right ? 0 : width[c] - columns_of(text)) + 2);
            at += width[c] + 2;
        }
        if (r == 0) fputs(cli_color(out, "0"), out);
    }
    cli_free(width);
}

static void print_lines(const cli_table *table, FILE *out, const char *between, void (*text)(FILE *, const char *)) {
    size_t rows = table->cells / table->columns;
    for (size_t r = 0; r <= rows; r++) {
        for (size_t c = 0; c < table->columns; c++) {
            if (c) fputs(between, out);
            text(out, r ? table->cell[(r - 1) * table->columns + c].shown : table->column[c]);
        }
        fputc('\n', out);
    }
}

static void print_md(const cli_table *table, FILE *out) {
    size_t rows = table->cells / table->columns;
    for (size_t r = 0; r <= rows; r++) {
        for (size_t c = 0; c < table->columns; c++) {
            fputs("| ", out);
            md_text(out, r ? table->cell[(r - 1) * table->columns + c].shown : table->column[c]);
            fputc(' ', out);
        }
        fputs("|\n", out);
        for (size_t c = 0; r == 0 && c < table->columns; c++)
            fputs(rows && table->cell[c].number ? "| ---: " : "| --- ", out);
        if (r == 0) fputs("|\n", out);
    }
}

static void print_json(const cli_table *table, FILE *out, bool lines) {
    size_t rows = table->cells / table->columns;
    if (!lines) fputs("[", out);
    for (size_t r = 0; r < rows; r++) {
        fputs(lines ? "{" : r ? ",\n {" : "\n {", out);
        for (size_t c = 0; c < table->columns; c++) {
            const cell *one = &table->cell[r * table->columns + c];
            if (c) fputs(", ", out);
            cli_json_text(out, table->column[c], strlen(table->column[c]));
            fputs(": ", out);
            if (!one->number)
                cli_json_text(out, one->text, strlen(one->text));
            else
                fputs(strcmp(one->text, "-") == 0 ? "null" : one->text, out);
        }
        fputs(lines ? "}\n" : "}", out);
    }
    if (!lines) fputs("\n]\n", out);
}

void cli_table_print(const cli_table *table, cli_format format, FILE *out) {
    switch (format) {
    case CLI_TEXT: print_text(table, out); break;
    case CLI_TSV: print_lines(table, out, "\t", cli_tsv_text); break;
    case CLI_CSV: print_lines(table, out, ",", csv_text); break;
    case CLI_MD: print_md(table, out); break;
    case CLI_JSON: print_json(table, out, false); break;
    case CLI_JSONL: print_json(table, out, true); break;
    }
}

/* ---- the ends of the pipe */

fv_status cli_output_finish(void) {
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return FV_OK;
    struct pollfd pipe = {STDOUT_FILENO, POLLOUT, 0};
    if (errno == EPIPE || (poll(&pipe, 1, 0) > 0 && pipe.revents & POLLERR)) return FV_OK;
    return cli_fail(FV_NO_RESOURCES, "cannot write to standard output: %s", strerror(errno ? errno : EIO));
}

fv_status cli_read_stdin(char **bytes, size_t *size) {
    size_t room = 1 << 16, n = 0, got;
    char *text = cli_alloc(room);
    while ((got = fread(text + n, 1, room - n - 1, stdin)) > 0) {
        n += got;
        if (room - n > 1) continue;
        room *= 2;
        text = cli_realloc(text, room);
    }
    text[n] = 0;
    *bytes = text;
    *size = n;
    return ferror(stdin) ? cli_fail(FV_BAD_DATA, "standard input: %s", strerror(errno)) : FV_OK;
}

/* Is there more without waiting? Of a terminal one line is read at a time. */
static bool input_waits(void) {
    struct pollfd input = {STDIN_FILENO, POLLIN, 0};
    return !isatty(STDIN_FILENO) && poll(&input, 1, 0) == 1 && input.revents & POLLIN;
}

fv_status cli_read_some(char *bytes, size_t room, size_t *got) {
    ssize_t n;
    *got = 0;
    do {
        do n = read(STDIN_FILENO, bytes + *got, room - *got);
        while (n < 0 && errno == EINTR && !fv_interrupted());
        if (n > 0) *got += (size_t)n;
    } while (n > 0 && *got < room && input_waits());
    return n < 0 ? cli_fail(FV_BAD_DATA, "standard input: %s", strerror(errno)) : FV_OK;
}
