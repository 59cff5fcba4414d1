/* io: rows of CSV, TSV, JSONL, fastText and plain lines. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/scratch.h"

#include "io/table.h"

/* All rows as text: "LINE:field|field;" with "-" for a field that is not there, "N>" before rows with N labels. */
static char *rows_of(const char *name, const char *text, size_t size, fv__table_options o) {
    static fv__buf all;
    fv__table *t;
    all.size = 0;
    fv__buf_text(&all, "");
    if (fv__table_over(&t, text, size, name, &o) != FV_OK) return (char *)fv_message();
    for (bool more = true; more;) {
        fv__row row;
        if (fv__table_next(t, &row, &more) != FV_OK) {
            fv__table_close(t);
            return (char *)fv_message();
        }
        if (!more) break;
        fv__buf_printf(&all, "%d:", (int)row.line);
        if (row.labels) fv__buf_printf(&all, "%d>", row.labels);
        for (int i = 0; i < row.count; i++) {
            if (i) fv__buf_text(&all, "|");
            if (row.fields[i].data)
                fv__buf_add(&all, row.fields[i].data, row.fields[i].size);
            else
                fv__buf_text(&all, "-");
        }
        fv__buf_text(&all, ";");
    }
    fv__table_close(t);
    return all.data;
}

#define ROWS(name, text, ...) rows_of(name, text, sizeof(text) - 1, (fv__table_options){__VA_ARGS__})
#define ASKED(...) \
    .columns = (const char *const[]) { __VA_ARGS__, NULL }

static void csv_is_rfc_4180(void **state) {
    (void)state;
    assert_string_equal(ROWS("a.csv", "a,b\n1,2\n"), "1:a|b;2:1|2;");
    assert_string_equal(ROWS("a.csv", "a,b\r\n1,2"), "1:a|b;2:1|2;");
    assert_string_equal(ROWS("a.csv",
                             "\xEF\xBB\xBF"
                             "a,b\n"),
                        "1:a|b;");
    assert_string_equal(ROWS("a.csv", "\"x, y\",\"say \"\"hi\"\"\"\n\"two\r\nlines\",z\nlast,\n"),
                        "1:x, y|say \"hi\";2:two\r\nlines|z;4:last|;");
    assert_string_equal(ROWS("a.csv", "\"\",\"\"\"\"\n,\n\n\r\n\"\"\"\"\"\",\"a\"\"\"\n"), "1:|\";2:|;5:\"\"|a\";");
    assert_string_equal(ROWS("a.csv", "5\" disk,say \"hi\" \"\"there\"\"\nx,y\n"),
                        "1:5\" disk|say \"hi\" \"\"there\"\";2:x|y;");
    assert_string_equal(ROWS("a.csv", ""), "");
    assert_string_equal(ROWS("a.csv", "\n\n"), "");
    assert_string_equal(ROWS("a.csv", "\"\"\n\"\"\n"), "1:;2:;");
    assert_string_equal(ROWS("a.txt", "a;\"b;c\"\n", .format = FV_TABLE_CSV, .delimiter = ';'), "1:a|b;c;");
}

static void csv_faults_have_a_line(void **state) {
    (void)state;
    assert_string_equal(ROWS("a.csv", "a,b\n1,\"2\n3,4\n"), "a.csv:2: a quote\n  expected its end\n  found:   none");
    assert_string_equal(ROWS("a.csv", "a,b\n1,\"2\"x\n"),
                        "a.csv:2: a quoted field\n  expected a delimiter or the end of the line after the closing "
                        "quote\n  found:   text");
    assert_string_equal(ROWS("a.csv", "a,b\n1,2,3\n"),
                        "a.csv:2: the number of fields differs from the first row's\n  expected 2\n  found:   3, "
                        "separated by ','");
    assert_string_equal(ROWS("a.csv", "\"a\nb\",c\n1\n"),
                        "a.csv:3: the number of fields differs from the first row's\n  expected 2\n  found:   1, "
                        "separated by ','");
    assert_string_equal(ROWS("a.csv", "a\n\"x\ny\xff\"\n"),
                        "a.csv:3: not UTF-8: byte 0xFF\n  try:     iconv -f WINDOWS-1252 -t UTF-8 a.csv > utf8.csv");
    assert_string_equal(ROWS("a.csv", "a\n\"x\ny\0\"\n"),
                        "a.csv:3: not text\n  expected text in UTF-8\n  found:   a NUL byte");
    assert_string_equal(ROWS("a.csv", "a", .delimiter = '"'), "a quote or a line break cannot be the delimiter");
}

static void columns_are_chosen(void **state) {
    (void)state;
    static const char csv[] = "id,text,label\n7,hello,x\n8,bye,y\n";
    assert_string_equal(rows_of("a.csv", csv, strlen(csv), (fv__table_options){ASKED("label", "text")}),
                        "2:x|hello;3:y|bye;");
    assert_string_equal(rows_of("a.csv", csv, strlen(csv), (fv__table_options){ASKED("3", "text")}),
                        "2:x|hello;3:y|bye;");
    assert_string_equal(rows_of("a.csv", csv, strlen(csv), (fv__table_options){ASKED("3", "2")}),
                        "2:x|hello;3:y|bye;"); /* nobody's text is "text" */
    assert_string_equal(
        rows_of("a.csv", csv, strlen(csv), (fv__table_options){.header = FV_HEADER_NO, ASKED("3", "2")}),
        "1:label|text;2:x|hello;3:y|bye;");
    assert_string_equal(rows_of("a.csv", csv, strlen(csv), (fv__table_options){ASKED("1", "2")}),
                        "1:id|text;2:7|hello;3:8|bye;");
    assert_string_equal(rows_of("a.csv", csv, strlen(csv), (fv__table_options){.header = FV_HEADER_YES, ASKED("3")}),
                        "2:x;3:y;");
    assert_string_equal(rows_of("a.csv", csv, strlen(csv), (fv__table_options){.header = FV_HEADER_YES}),
                        "2:7|hello|x;3:8|bye|y;");
    assert_string_equal(rows_of("a.csv", csv, strlen(csv), (fv__table_options){ASKED("4")}),
                        "a.csv:1: no column \"4\"\n  expected names in the first row, or numbers from 1 to 3\n"
                        "  found:   \"id\", \"text\", \"label\"");
    assert_string_equal(rows_of("a.csv", csv, strlen(csv), (fv__table_options){ASKED("0")}),
                        "a.csv:1: no column \"0\"\n  expected names in the first row, or numbers from 1 to 3\n"
                        "  found:   \"id\", \"text\", \"label\"");
    assert_string_equal(
        rows_of("a.csv", csv, strlen(csv), (fv__table_options){ASKED("99999999999999999999")}),
        "a.csv:1: no column \"99999999999999999999\"\n  expected names in the first row, or numbers from 1 to 3\n"
        "  found:   \"id\", \"text\", \"label\"");
    assert_string_equal(rows_of("a.csv", csv, strlen(csv), (fv__table_options){ASKED("review")}),
                        "a.csv:1: no column \"review\"\n  expected names in the first row, or numbers from 1 to 3\n"
                        "  found:   \"id\", \"text\", \"label\"");
    assert_string_equal(
        rows_of("a.csv", csv, strlen(csv), (fv__table_options){.header = FV_HEADER_YES, ASKED("lable")}),
        "a.csv:1: no column \"lable\"\n  expected names in the first row, or numbers from 1 to 3\n"
        "  found:   \"id\", \"text\", \"label\"\n  did you mean \"label\"?");
    assert_string_equal(rows_of("a.csv", csv, strlen(csv), (fv__table_options){.header = FV_HEADER_NO, ASKED("label")}),
                        "a.csv:1: no column \"label\"\n  expected without a header numbers from 1 to 3\n"
                        "  found:   \"id\", \"text\", \"label\"");
    assert_string_equal(ROWS("a.csv", "a,b,a\n1,2,3\n", .header = FV_HEADER_YES, ASKED("a")),
                        "a.csv:1: two columns are named \"a\"\n  try:     their numbers: 1 and 3");
    assert_string_equal(ROWS("a.csv", "a,b,a\n1,2,3\n", .header = FV_HEADER_YES, ASKED("b")), "2:2;");
    assert_string_equal(ROWS("a.csv", "a,b,,\n1,2,,\n", ASKED("b")), "2:2;");
    assert_string_equal(ROWS("a.csv", "a,b,a\n1,2,3\n", .header = FV_HEADER_NO), "1:a|b|a;2:1|2|3;");
    assert_string_equal(ROWS("a.csv", "", .header = FV_HEADER_YES),
                        "a.csv: no header\n  expected a first row\n  found:   an empty file");
    fv__table *t;
    fv__table_options o = {.header = FV_HEADER_YES};
    assert_int_equal(fv__table_over(&t, csv, strlen(csv), "a.csv", &o), FV_OK);
    assert_string_equal(fv__table_names(t)[2], "label");
    assert_null(fv__table_names(t)[3]);
    assert_int_equal(fv__table_format_of(t), FV_TABLE_CSV);
    fv__table_close(t);
}

static void tsv_has_no_quotes(void **state) {
    (void)state;
    assert_string_equal(ROWS("a.tsv", "\"a\tb\"\n\nx\t\r\n"), "1:\"a|b\";3:x|;");
    assert_string_equal(ROWS("A.TAB", "l\tt\n1\t2\n", ASKED("t")), "2:2;");
    assert_string_equal(ROWS("a.tsv", "a\tb\nc\n"),
                        "a.tsv:2: the number of fields differs from the first row's\n  expected 2\n  found:   1, "
                        "separated by tab");
    assert_string_equal(ROWS("a.tsv", "a\tb\nc\t\xe9\n"),
                        "a.tsv:2: not UTF-8: byte 0xE9\n  try:     iconv -f WINDOWS-1252 -t UTF-8 a.tsv > utf8.tsv");
}

static void jsonl_has_paths(void **state) {
    (void)state;
    static const char text[] =
        "{\"review\": {\"text\": \"a\\nb\", \"n\": 3}, \"label\": 1.5}\n \t\r\n\n{\"label\": true, \"review\": null}";
    assert_string_equal(
        rows_of("a.jsonl", text, strlen(text), (fv__table_options){ASKED("label", "review.text", "review.n")}),
        "1:1.5|a\nb|3;4:true|-|-;");
    assert_string_equal(ROWS("a.ndjson", "{\"b\": \"x\", \"a\": 12, \"c\": [1, 2.0], \"d\": null}\n"),
                        "1:x|12|[1, 2.0]|-;");
    assert_string_equal(ROWS("a.jsonl", "{\"t\": [\"x\"]}\n", ASKED("t")),
                        "a.jsonl:1: \"t\"\n  expected a text or a number\n  found:   an array");
    assert_string_equal(ROWS("a.jsonl", "{\"t\": 1}\n[1]\n", ASKED("t")),
                        "a.jsonl:2: expected one JSON object per line\n  found:   an array");
    assert_string_equal(ROWS("a.jsonl", "\n{\"t\": 1, \"t\": 2}\n", ASKED("t")),
                        "a.jsonl:2:12: malformed JSON: duplicate object key near '\"t\"'");
    assert_non_null(strstr(ROWS("a.jsonl", "{\"t\": 1}\n{\"t\": 1\n}\n", ASKED("t")), "a.jsonl:2:7: malformed JSON"));
    assert_non_null(strstr(ROWS("a.jsonl", "{\"t\": 1} {\"t\": 2}\n", ASKED("t")), "a.jsonl:1:10: malformed JSON"));
}

static void fasttext_has_labels(void **state) {
    (void)state;
    assert_string_equal(ROWS("a.txt", "__label__a  hello world \r\n__label__b __label__c\tx\nno label\n\n__label__d\n"),
                        "1:1>a|hello world ;2:2>b|c|x;3:no label;4:;5:1>d|;");
    assert_string_equal(ROWS("a", "@x text __label__y\n", .label_prefix = "@"), "1:1>x|text __label__y;");
    assert_string_equal(ROWS("a.txt", "__label__ x\n"),
                        "a.txt:1: a label\n  expected a name behind the prefix\n  found:   none");
    assert_string_equal(ROWS("a.txt", "__label__ x\n", .lenient = true), "1:__label__ x;");
}

/* As fastText has it, words with the prefix are labels wherever they stand, and no part of the text. */
static void fasttext_labels_behind_the_text(void **state) {
    (void)state;
    assert_string_equal(ROWS("a.txt", "goal team __label__b\n"), "1:1>b|goal team;");
    assert_string_equal(ROWS("a.txt", "__label__a goal  team __label__b\n"), "1:2>a|b|goal  team;");
    assert_string_equal(ROWS("a.txt", "goal __label__a team\t__label__b law \n"), "1:2>a|b|goal team\tlaw;");
    assert_string_equal(ROWS("a.txt", "x__label__a \"__label__b\n"), "1:x__label__a \"__label__b;"); /* not words */
    assert_string_equal(ROWS("a.txt", "goal __label__\n"),
                        "a.txt:1: a label\n  expected a name behind the prefix\n  found:   none");
    assert_string_equal(ROWS("a.txt", "goal __label__ x __label__y\n", .lenient = true), "1:1>y|goal __label__ x;");
    assert_string_equal(ROWS("a.csv", "__label__a x,y\n", .format = FV_TABLE_LINES), "1:__label__a x,y;");
    assert_string_equal(ROWS("a", "x\n\ny", .format = FV_TABLE_LINES), "1:x;2:;3:y;");
}

static void what_is_no_text_is_refused_by_name(void **state) {
    (void)state;
    assert_non_null(strstr(ROWS("a.parquet", "PAR1\0\0"), "a.parquet: is a Parquet file\n  try:     duckdb"));
    assert_non_null(strstr(ROWS("a.csv.gz", "\x1f\x8b\x08"), "a.csv.gz: is compressed with gzip\n  try:     gzip -dk"));
    assert_non_null(strstr(ROWS("a.arrow", "ARROW1\0\0"), "is an Arrow file"));
    assert_non_null(strstr(ROWS("a.csv", "PK\3\4zzz"), "is a zip archive"));
    assert_non_null(strstr(ROWS("a.csv",
                                "\xFF\xFE"
                                "a\0"),
                           "is UTF-16\n  try:     iconv -f UTF-16 -t UTF-8"));
    assert_non_null(strstr(ROWS("a.zst", "\x28\xB5\x2F\xFDx"), "zstd"));
    assert_string_equal(ROWS("a.json", "{\"x\": 1}", .format = FV_TABLE_JSONL), "1:1;");
    fv__table_format format;
    assert_int_equal(fv__table_parse_format("jsonl", &format), FV_OK);
    assert_int_equal(format, FV_TABLE_JSONL);
    assert_int_equal(fv__table_parse_format("jsnl", &format), FV_USAGE);
    assert_non_null(strstr(fv_message(), "did you mean \"jsonl\"?"));
}

/* What the log said last. */
static char said[512];
static void hear(void *context, fv_log_level level, const char *line) {
    (void)context;
    (void)level;
    snprintf(said, sizeof said, "%s", line);
}

/* Rows, and what is said about the dialect. */
static void speaks(const char *name, const char *text, fv__table_options o, const char *rows, const char *line) {
    said[0] = 0;
    fv_set_log(hear, NULL);
    const char *found = rows_of(name, text, strlen(text), o);
    fv_set_log(NULL, NULL);
    assert_string_equal(found, rows);
    assert_string_equal(said, line);
}

static void delimiters_are_recognised(void **state) {
    (void)state;
    static const char *const columns[] = {"label", "text", NULL}, *const numbers[] = {"1", "2", NULL};
    fv__table_options named = {.columns = columns}, numbered = {.columns = numbers};
    const char *semicolon = "d.csv: its fields are separated by ';', as --delimiter ';' says";
    speaks("d.csv", "label;text\na;x, y\nb;z\n", named, "2:a|x, y;3:b|z;", semicolon);
    speaks("d.csv", "label|text\na|x, y\n", named, "2:a|x, y;",
           "d.csv: its fields are separated by '|', as --delimiter '|' says");
    speaks("d.csv", "text\tlabel\n\"x\ty\"\ta\n", named, "2:a|x\ty;",
           "d.csv: its fields are separated by tabs, as --delimiter tab says");
    speaks("d.tsv", "text,label\nx,a\n", named, "2:a|x;",
           "d.tsv: its fields are separated by ',', as --delimiter ',' says");
    speaks("d.csv", "sep=;\r\nlabel;text\r\na;x, y\r\n", named, "3:a|x, y;", semicolon);
    speaks("d.csv", "\xEF\xBB\xBF\"sep=;\"\nlabel;text\na;x\n", named, "3:a|x;", semicolon);
    speaks("d.csv", "a;x\nb;y\n", numbered, "1:a|x;2:b|y;", semicolon);
    speaks("d.csv", "a,x;1\nb,y;1\n", numbered, "1:a|x;1;2:b|y;1;", "");
    speaks("d.csv", "label,text\na,\"x;y\"\n", named, "2:a|x;y;", "");
    named.delimiter = ';';
    speaks("d.csv", "label;text\na;x\n", named, "2:a|x;", "");
    char delimiter;
    assert_int_equal(fv__table_parse_delimiter("\\t", &delimiter), FV_OK);
    assert_int_equal(delimiter, '\t');
    assert_int_equal(fv__table_parse_delimiter("||", &delimiter), FV_USAGE);
    assert_string_equal(fv_message(),
                        "the delimiter\n  expected one character, such as ; or |, or tab\n  found:   \"||\"");
}

/* As pandas writes it, a field with a tab or a quote is quoted; as others write it, a quote is a quote. */
static void quoted_tsv_is_recognised(void **state) {
    (void)state;
    const fv__table_options all = {0};
    const char *quoted = "q.tsv: its fields are quoted as in CSV";
    speaks("q.tsv", "text\tlabel\n\"a \"\"b\"\" and a\ttab\"\tx\nplain\ty\n", all,
           "1:text|label;2:a \"b\" and a\ttab|x;3:plain|y;", quoted);
    speaks("q.tsv", "t\tl\n\"two\nlines\"\tx\n", all, "1:t|l;2:two\nlines|x;", quoted);
    speaks("q.tsv", "t\tl\n\"so it is\"\tx\n", all, "1:t|l;2:\"so it is\"|x;", "");
    speaks("q.tsv", "t\tl\n\"what\tx\n\"\"no\"\" yes\ty\n", all, "1:t|l;2:\"what|x;3:\"\"no\"\" yes|y;", "");
    speaks("q.tsv", "t\tl\n5\" disk\tx\n", all, "1:t|l;2:5\" disk|x;", "");
}

static void lines_may_end_with_cr(void **state) {
    (void)state;
    const char *cr = "m.csv: its lines end with CR alone";
    speaks("m.csv", "label,text\ra,first\rb,\"second\rline\"\rc,x", (fv__table_options){0},
           "1:label|text;2:a|first;3:b|second\rline;5:c|x;", cr);
    speaks("m.txt", "one\rtwo\r", (fv__table_options){.format = FV_TABLE_LINES}, "1:one;2:two;",
           "m.txt: its lines end with CR alone");
    speaks("m.txt", "one\rtwo\nx", (fv__table_options){.format = FV_TABLE_LINES}, "1:one\rtwo;2:x;", "");
}

static void marks_inside(void **state) {
    (void)state;
    const char *joined =
        ":3: a byte order mark (U+FEFF) inside the file\n  expected one at its start only\n  found:   two files "
        "joined, it seems\n  try:     the files one by one, as several --input";
    assert_non_null(strstr(ROWS("j.csv", "\"l\",\"t\"\n\"a\",\"x\"\n\xEF\xBB\xBF\"l\",\"t\"\n"), joined));
    assert_non_null(strstr(ROWS("j.tsv", "l\tt\na\tx\n\xEF\xBB\xBFl\tt\n"), joined));
    assert_non_null(strstr(ROWS("j.jsonl", "{\"t\": 1}\n{\"t\": 1}\n\xEF\xBB\xBF{\"t\": 1}\n"), joined));
    speaks("j.txt", "__label__a x\n\xEF\xBB\xBF__label__b y\n", (fv__table_options){0}, "1:1>a|x;2:1>b|y;",
           "j.txt:2: a byte order mark (U+FEFF) inside the file is left out");
    assert_string_equal(ROWS("j.csv", "l,t\na,x\xEF\xBB\xBFy\n"), "1:l|t;2:a|x\xEF\xBB\xBFy;");
}

/* Objects over several lines, one array of them, and numbers that no integer of a machine holds. */
static void json_over_several_lines(void **state) {
    (void)state;
    static const char *const t[] = {"t", NULL};
    const fv__table_options o = {.columns = t};
    speaks("a.jsonl", "{\n  \"t\": \"x}\"\n}\n{\n  \"t\": 2\n}\n", o, "1:x};4:2;", "");
    speaks("a.json", "[{\"t\": 1},\n {\"t\": \"]\\\"\"}]\n", o, "1:1;2:]\";", "");
    speaks("a.json", "\xEF\xBB\xBF\n[\n]\n", o, "", "");
    speaks("a.json", "{\"t\": 1} \n", o, "1:1;", "");
    speaks("a.json", "[{\"t\": 1}", o, "a.json:1:9: malformed JSON: ']' expected near end of file", "");
    speaks("a.json", "[{\"t\": 1} {\"t\": 2}]", o, "a.json:1: malformed JSON: a comma is missing", "");
    speaks("a.json", "[,{\"t\": 1}]", o, "a.json:1: malformed JSON: a value is missing", "");
    speaks("a.json", "[{\"t\": 1}]\n[]", o, "a.json:2: something follows the array of objects", "");
    speaks("a.json", "[{\"t\": 1},\n 7]", o, "a.json:2: expected one JSON object per text\n  found:   a whole number",
           "");
    assert_non_null(strstr(ROWS("a.json", "[\n{\"t\": 1},\n{\"t\": x}]", ASKED("t")), "a.json:3:7: malformed JSON"));
    speaks("a.jsonl", "{\"t\": 1, \"id\": 18446744073709551615}\n{\"t\": -123456789012345678901, \"x\": 1.50}\n", o,
           "1:1;2:-123456789012345678901;", "");
    speaks("a.jsonl", "{\"u\": \"\\\"1234567890123456789012\", \"t\": 1.5, \"id\": {\"a\": [99999999999999999999]}}\n",
           o, "1:1.5;", "");
}

/* Lines to be answered are texts, however odd. */
static void odd_lines_are_texts(void **state) {
    (void)state;
    fv__table_options o = {.format = FV_TABLE_LINES, .lenient = true};
    speaks("o.txt", "caf\xE9 \xE4\xB8\xAD\nx\n", o, "1:caf\xEF\xBF\xBD \xE4\xB8\xAD;2:x;",
           "o.txt:1: not UTF-8: byte 0xE9\n  try:     iconv -f WINDOWS-1252 -t UTF-8 o.txt > utf8.txt\n"
           "  read with U+FFFD in its place");
    assert_string_equal(ROWS("o.txt", "a\0b\n\xFF\n", .lenient = true),
                        "1:a\xEF\xBF\xBD"
                        "b;2:\xEF\xBF\xBD;");
}

/* And so are rows, which keep their place. */
static void odd_rows_are_texts(void **state) {
    (void)state;
    static const char *const t[] = {"t", NULL};
    const fv__table_options o = {.columns = t, .lenient = true};
    speaks("o.csv", "t,l\nx,a\ny\nz,b,c\n", o, "2:x;3:y;4:z;",
           "o.csv:4: the number of fields differs from the first row's\n  expected 2\n  found:   3, separated by ','\n"
           "  read with the fields there are");
    assert_non_null(strstr(ROWS("o.csv", "l,t\na,x\ny\n", ASKED("t"), .lenient = true), "2:x;3:;"));
    assert_string_equal(
        ROWS("o.jsonl", "{\"t\": \"x\"}\n{\"t\": \n[1]\n{\"t\": [1]}\n{\"t\": 2}\n", ASKED("t"), .lenient = true),
        "1:x;2:;3:;4:;5:2;");
}

/* What the bytes look like decides what is advised. */
static void encodings_are_guessed(void **state) {
    (void)state;
    assert_non_null(strstr(ROWS("w.csv", "don\x92t \x93quote\x94\n"),
                           "byte 0x92\n  try:     iconv -f WINDOWS-1252 -t UTF-8 w.csv > utf8.csv"));
    assert_non_null(strstr(ROWS("g", "\xD6\xCA\xC1\xBF\xBA\xDC\xBA\xC3\n"),
                           "iconv -f GB18030 -t UTF-8 g > utf8.txt   if it is Chinese"));
}

static void very_long_lines_are_refused(void **state) {
    (void)state;
    enum { LIMIT = 16 << 20, SIZE = LIMIT + 100 };
    char *text = malloc(SIZE);
    static const struct {
        const char *name, *start, *message;
    } cases[] = {{"a.txt", "x\n", "a.txt:2: the line is longer than 16 MiB"},
                 {"a.tsv", "x\n", "a.tsv:2: the line is longer than 16 MiB"},
                 {"a.jsonl", "{}\n", "a.jsonl:2: the line is longer than 16 MiB"},
                 {"a.csv", "x\n", "a.csv:2: the line is longer than 16 MiB"},
                 {"a.csv", "x\ny\n\"", "a.csv:3: a quote\n  expected its end within 16 MiB\n  found:   none"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memset(text, 'a', SIZE);
        memcpy(text, cases[i].start, strlen(cases[i].start));
        assert_string_equal(rows_of(cases[i].name, text, SIZE, (fv__table_options){0}), cases[i].message);
    }
    memset(text, 'a', SIZE);
    text[LIMIT] = '\n'; /* exactly the limit is fine */
    assert_int_equal(strlen(rows_of("a.txt", text, LIMIT + 1, (fv__table_options){0})), LIMIT + 3);
    assert_int_equal(strlen(rows_of("a.csv", text, LIMIT + 1, (fv__table_options){0})), LIMIT + 3);
    free(text);
}

static void tables_are_read_from_files(void **state) {
    (void)state;
    fv__table *t;
    fv__table_options o = {ASKED("b")};
    fv__row row;
    bool more;
    int64_t live = fv__alloc_live();
    assert_int_equal(fv__table_open(&t, scratch_file("f.csv", "a,b\n1,two\n", 10), &o), FV_OK);
    assert_int_equal(fv__table_next(t, &row, &more), FV_OK);
    assert_true(more && row.count == 1 && row.fields[0].size == 3 && !memcmp(row.fields[0].data, "two", 3));
    assert_int_equal(fv__table_next(t, &row, &more), FV_OK);
    assert_false(more);
    assert_int_equal(fv__table_next(t, &row, &more), FV_OK); /* and stays at the end */
    assert_false(more);
    fv__table_close(t);
    assert_int_equal(fv__table_open(&t, scratch_path("none.csv"), &o), FV_BAD_DATA);
    assert_int_equal(fv__table_open(&t, scratch_folder, &o), FV_BAD_DATA);
    assert_int_equal(fv__alloc_live(), live);
}

/* Random bytes of the characters that matter: no crash, no endless loop, and an error always has a line. */
static void random_text_is_survived(void **state) {
    (void)state;
    static const char letters[] = "\"\",,;\n\r\t {}[]:a1\\_\xc3\xa9";
    static const char *const asked[] = {"a", NULL}, *const numbered[] = {"2", "1", NULL};
    static const char *const names[] = {"r.csv", "r.tsv", "r.jsonl", "r.txt"};
    for (uint64_t check_case = 0; check_case < 20000; check_case++) {
        char text[64];
        size_t size = (size_t)fv__random_below(check_case, 1, 0, sizeof text);
        for (size_t i = 0; i < size; i++) text[i] = letters[fv__random_below(check_case, 2, i, sizeof letters - 1)];
        char *exact = malloc(size + 1); /* so that a sanitizer sees a step beyond */
        memcpy(exact, text, size);
        fv__table_options o = {.lenient = check_case / 4 % 2, .label_prefix = "a"};
        o.columns = check_case / 8 % 3 == 0 ? NULL : check_case / 8 % 3 == 1 ? asked : numbered;
        const char *out = rows_of(names[check_case % 4], exact, size, o);
        if (out == fv_message()) assert_non_null(strstr(out, names[check_case % 4]));
        free(exact);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_is_rfc_4180),
        cmocka_unit_test(csv_faults_have_a_line),
        cmocka_unit_test(columns_are_chosen),
        cmocka_unit_test(tsv_has_no_quotes),
        cmocka_unit_test(jsonl_has_paths),
        cmocka_unit_test(fasttext_has_labels),
        cmocka_unit_test(fasttext_labels_behind_the_text),
        cmocka_unit_test(delimiters_are_recognised),
        cmocka_unit_test(quoted_tsv_is_recognised),
        cmocka_unit_test(lines_may_end_with_cr),
        cmocka_unit_test(marks_inside),
        cmocka_unit_test(json_over_several_lines),
        cmocka_unit_test(odd_lines_are_texts),
        cmocka_unit_test(odd_rows_are_texts),
        cmocka_unit_test(encodings_are_guessed),
        cmocka_unit_test(what_is_no_text_is_refused_by_name),
        cmocka_unit_test(very_long_lines_are_refused),
        cmocka_unit_test(tables_are_read_from_files),
        cmocka_unit_test(random_text_is_survived),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
