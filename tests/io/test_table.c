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
                        "a.csv:2: the number of fields differs from the first row's\n  expected 2\n  found:   3");
    assert_string_equal(ROWS("a.csv", "\"a\nb\",c\n1\n"),
                        "a.csv:3: the number of fields differs from the first row's\n  expected 2\n  found:   1");
    assert_string_equal(ROWS("a.csv", "a\n\"x\ny\xff\"\n"),
                        "a.csv:3: not UTF-8: byte 0xFF\n  try:     iconv -f ISO-8859-1 -t UTF-8 a.csv");
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
                        "1:label|text;2:x|hello;3:y|bye;");
    assert_string_equal(rows_of("a.csv", csv, strlen(csv), (fv__table_options){.header = FV_HEADER_YES, ASKED("3")}),
                        "2:x;3:y;");
    assert_string_equal(rows_of("a.csv", csv, strlen(csv), (fv__table_options){.header = FV_HEADER_YES}),
                        "2:7|hello|x;3:8|bye|y;");
    assert_string_equal(rows_of("a.csv", csv, strlen(csv), (fv__table_options){ASKED("4")}),
                        "a.csv:1: no column \"4\" among the 3");
    assert_string_equal(rows_of("a.csv", csv, strlen(csv), (fv__table_options){ASKED("0")}),
                        "a.csv:1: no column \"0\" among the 3");
    assert_string_equal(rows_of("a.csv", csv, strlen(csv), (fv__table_options){ASKED("99999999999999999999")}),
                        "a.csv:1: no column \"99999999999999999999\" among the 3");
    assert_string_equal(
        rows_of("a.csv", csv, strlen(csv), (fv__table_options){ASKED("review")}),
        "a.csv:1: the first row has no column \"review\"\n  expected a header with the columns asked for, or "
        "their numbers from 1 to 3\n  found:   a row of values");
    assert_string_equal(
        rows_of("a.csv", csv, strlen(csv), (fv__table_options){.header = FV_HEADER_YES, ASKED("lable")}),
        "a.csv:1: no column \"lable\"\n  did you mean \"label\"?");
    assert_string_equal(
        rows_of("a.csv", csv, strlen(csv), (fv__table_options){.header = FV_HEADER_NO, ASKED("label")}),
        "a.csv: no header has the names of the columns\n  expected a number from 1 to 3\n  found:   \"label\"");
    assert_string_equal(ROWS("a.csv", "a,b,a\n1,2,3\n", .header = FV_HEADER_YES),
                        "a.csv:1: two columns are named \"a\"");
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
                        "a.tsv:2: the number of fields differs from the first row's\n  expected 2\n  found:   1");
    assert_string_equal(ROWS("a.tsv", "a\tb\nc\t\xe9\n"),
                        "a.tsv:2: not UTF-8: byte 0xE9\n  try:     iconv -f ISO-8859-1 -t UTF-8 a.tsv");
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
    assert_non_null(strstr(ROWS("a.json", "[{}]"), "a.json: not a table\n  expected JSON lines"));
    assert_string_equal(ROWS("a.json", "{\"x\": 1}", .format = FV_TABLE_JSONL), "1:1;");
    fv__table_format format;
    assert_int_equal(fv__table_parse_format("jsonl", &format), FV_OK);
    assert_int_equal(format, FV_TABLE_JSONL);
    assert_int_equal(fv__table_parse_format("jsnl", &format), FV_USAGE);
    assert_non_null(strstr(fv_message(), "did you mean \"jsonl\"?"));
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
    static const char letters[] = "\"\",,\n\r\t {}[]:a1\\_\xc3\xa9";
    static const char *const names[] = {"r.csv", "r.tsv", "r.jsonl", "r.txt"};
    for (uint64_t check_case = 0; check_case < 20000; check_case++) {
        char text[64];
        size_t size = (size_t)fv__random_below(check_case, 1, 0, sizeof text);
        for (size_t i = 0; i < size; i++) text[i] = letters[fv__random_below(check_case, 2, i, sizeof letters - 1)];
        char *exact = malloc(size + 1); /* so that a sanitizer sees a step beyond */
        memcpy(exact, text, size);
        const char *out = rows_of(names[check_case % 4], exact, size, (fv__table_options){0});
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
        cmocka_unit_test(what_is_no_text_is_refused_by_name),
        cmocka_unit_test(very_long_lines_are_refused),
        cmocka_unit_test(tables_are_read_from_files),
        cmocka_unit_test(random_text_is_survived),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
