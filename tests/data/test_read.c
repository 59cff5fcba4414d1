/* Reading labelled texts: what is accepted, what is refused and with which words; splits. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fovea/data.h"
#include "support/scratch.h"

/* ---- bad input: exact messages */

typedef struct bad {
    const char *name, *bytes; /* \1 stands for a NUL byte */
    const char *settings;     /* "name=value name=value", "known" (classes cat and dog), "unlabelled" */
    const char *message;
    fv_status status;
} bad;

static const bad bads[] = {
    {"empty.csv", "", "", "empty.csv: no texts\n  expected at least one row below the header\n  found:   none",
     FV_BAD_DATA},
    {"empty.tsv", "", "header=yes", "empty.tsv: no header\n  expected a first row\n  found:   an empty file",
     FV_BAD_DATA},
    {"empty.txt", "", "", "empty.txt: no texts\n  expected at least one line\n  found:   none", FV_BAD_DATA},
    {"empty.jsonl", "\n\n", "", "empty.jsonl: no texts\n  expected at least one object\n  found:   none", FV_BAD_DATA},
    {"head.csv", "label,text\n", "",
     "head.csv: no texts\n  expected at least one row below the header\n  found:   none", FV_BAD_DATA},
    {"one.csv", "label,text\ncat,a\ncat,b\n", "",
     "one.csv: only one class\n  expected at least two different labels\n  found:   \"cat\" for all 2 texts\n"
     "  try:     another "
     "--label-col",
     FV_BAD_DATA},
    {"lines.txt", "__label__cat a\nno label here\n", "",
     "lines.txt:2: no label\n  expected a line that starts with \"__label__NAME\", or CSV, TSV, JSONL with a "
     "label column\n  found:   a line without one\n"
     "  try:     --input-format tsv --label-col 1 --text-col 2",
     FV_BAD_DATA},
    {"prefix.txt", "#cat a\n__label__dog b\n", "label-prefix=#",
     "prefix.txt:2: no label\n  expected a line that starts with \"#NAME\", or CSV, TSV, JSONL with a label "
     "column\n  found:   a line without one\n"
     "  try:     --input-format tsv --label-col 1 --text-col 2",
     FV_BAD_DATA},
    {"bare.txt", "__label__ text\n", "", "bare.txt:1: a label\n  expected a name behind the prefix\n  found:   none",
     FV_BAD_DATA},
    {"two.txt", "__label__a __label__b text\n", "",
     "two.txt:1: several labels on one line\n  expected one, because a classifier answers with one class\n"
     "  found:   2\n"
     "  try:     --labels first (the first one counts)",
     FV_BAD_DATA},
    {"nolabel.csv", "label,text\ncat,a\n,b\n", "",
     "nolabel.csv:3: no label\n  expected a name in column \"label\"\n  found:   nothing", FV_BAD_DATA},
    {"unseen.csv", "label,text\ncat,a\ndig,b\n", "known",
     "unseen.csv:3: a label that was not seen in training\n  expected one of: cat, dog\n  found:   \"dig\"\n  did you "
     "mean \"dog\"?",
     FV_BAD_DATA},
    {"unseen.txt", "__label__elephant x\n", "known",
     "unseen.txt:1: a label that was not seen in training\n  expected one of: cat, dog\n  found:   \"elephant\"",
     FV_BAD_DATA},
    {"nohead.csv", "cat,a\ndog,b\n", "",
     "nohead.csv:1: no column \"text\" and no column \"label\"\n  expected names in the first row, or numbers from 1 "
     "to "
     "2\n  found:   \"cat\", \"a\"\n  try:     --text-col NAME --label-col NAME",
     FV_BAD_DATA},
    {"column.csv", "label,texts\ncat,a\n", "header=yes",
     "column.csv:1: no column \"text\"\n  expected names in the first row, or numbers from 1 to 2\n"
     "  found:   \"label\", \"texts\"\n  did you mean \"texts\"?\n  try:     --text-col NAME --label-col NAME",
     FV_BAD_DATA},
    {"columns.csv", "lable,texts\ncat,a\n", "",
     "columns.csv:1: no column \"text\" and no column \"label\"\n  expected names in the first row, or numbers from 1 "
     "to "
     "2\n  found:   \"lable\", \"texts\"\n  did you mean \"texts\" or \"lable\"?\n  try:     --text-col NAME "
     "--label-col NAME",
     FV_BAD_DATA},
    {"delimiter.csv", "a;b\n", "delimiter=semicolon",
     "the delimiter\n  expected one character, such as ; or |, or tab\n  found:   \"semicolon\"", FV_USAGE},
    {"joined.csv", "label,text\na,x\n\xEF\xBB\xBFlabel,text\nb,y\n", "",
     "joined.csv:3: a byte order mark (U+FEFF) inside the file\n  expected one at its start only\n  found:   two "
     "files joined, it seems\n"
     "  try:     the files one by one, as several --input",
     FV_BAD_DATA},
    {"behind.txt", "__label__a goal team __label__b\n__label__b x\n", "",
     "behind.txt:1: several labels on one line\n  expected one, because a classifier answers with one class\n"
     "  found:   2\n"
     "  try:     --labels first (the first one counts)",
     FV_BAD_DATA},
    {"blank.csv", "label,text\na,x\n \xEF\xBB\xBF,y\n", "",
     "blank.csv:3: no label\n  expected a name in column \"label\"\n  found:   nothing", FV_BAD_DATA},
    {"number.csv", "cat,a\ndog,b\n", "label-col=1 text-col=3",
     "number.csv:1: no column \"3\"\n  expected names in the first row, or numbers from 1 to 2\n"
     "  found:   \"cat\", \"a\"\n  try:     --text-col NAME --label-col NAME",
     FV_BAD_DATA},
    {"double.csv", "label,text,text\ncat,a,b\n", "",
     "double.csv:1: two columns are named \"text\"\n  try:     their numbers: 2 and 3", FV_BAD_DATA},
    {"ragged.csv", "label,text\ncat,a\ndog\n", "",
     "ragged.csv:3: the number of fields differs from the first row's\n  expected 2\n  found:   1, separated by ','",
     FV_BAD_DATA},
    {"quote.csv", "label,text\ncat,\"a\n", "", "quote.csv:2: a quote\n  expected its end\n  found:   none",
     FV_BAD_DATA},
    {"after.csv", "label,text\ncat,\"a\"b\n", "",
     "after.csv:2: a quoted field\n  expected a delimiter or the end of the line after the closing quote\n  found:   "
     "text",
     FV_BAD_DATA},
    {"nul.tsv", "label\ttext\ncat\ta\1b\n", "", "nul.tsv:2: not text\n  expected text in UTF-8\n  found:   a NUL byte",
     FV_BAD_DATA},
    {"latin.tsv", "label\ttext\ncat\tcaf\xE9\n", "",
     "latin.tsv:2: not UTF-8: byte 0xE9\n  try:     iconv -f WINDOWS-1252 -t UTF-8 latin.tsv > utf8.tsv", FV_BAD_DATA},
    {"surrogate.txt", "__label__a \xED\xA0\x80\n", "",
     "surrogate.txt:1: not UTF-8: byte 0xED\n  try:     iconv -f WINDOWS-1252 -t UTF-8 surrogate.txt > utf8.txt",
     FV_BAD_DATA},
    {"data.parquet", "PAR1\x15\x04", "",
     "data.parquet: is a Parquet file\n  try:     duckdb -c \"copy (from 'FILE') to 'data.csv'\"", FV_BAD_DATA},
    {"data.csv.gz", "\x1F\x8B\x08", "", "data.csv.gz: is compressed with gzip\n  try:     gzip -dk FILE", FV_BAD_DATA},
    {"wide.csv", "\xFF\xFEl", "", "wide.csv: is UTF-16\n  try:     iconv -f UTF-16 -t UTF-8 FILE", FV_BAD_DATA},
    {"array.json", "[]", "", "array.json: no texts\n  expected at least one object\n  found:   none", FV_BAD_DATA},
    {"list.jsonl", "[1]\n", "", "list.jsonl:1: expected one JSON object per text\n  found:   a whole number",
     FV_BAD_DATA},
    {"text.jsonl", "{\"label\":\"a\"}\n", "", "text.jsonl:1: no text\n  expected a value for \"text\"\n  found:   none",
     FV_BAD_DATA},
    {"label.jsonl", "{\"text\":\"a\",\"label\":null}\n", "",
     "label.jsonl:1: no label\n  expected a name in column \"label\"\n  found:   nothing", FV_BAD_DATA},
    {"nest.jsonl", "{\"text\":[\"a\"],\"label\":\"x\"}\n", "",
     "nest.jsonl:1: \"text\"\n  expected a text or a number\n  found:   an array", FV_BAD_DATA},
    {"split.csv", "label,text,part\na,x,train\nb,y,other\n", "split-col=part",
     "split.csv:3: column \"part\"\n  expected train, valid or test\n  found:   \"other\"", FV_BAD_DATA},
    {"split.txt", "__label__a x\n", "split-col=part",
     "split.txt: --split-col needs columns\n  expected CSV, TSV or JSONL\n  found:   plain lines", FV_USAGE},
    {"plain.txt", "a\n", "input-format=lines",
     "plain.txt: its labels\n  expected fasttext, csv, tsv or jsonl\n  found:   plain lines", FV_USAGE},
    {"cols.csv", "label,text\na,b\n", "text-col=text,,x",
     "text-col: names of columns\n  expected 1 to 16 names or numbers with commas between\n  found:   \"text,,x\"",
     FV_USAGE},
    {"predict.csv", "words\nhello\n", "header=yes unlabelled",
     "predict.csv:1: no column \"text\"\n  expected names in the first row, or numbers from 1 to 1\n"
     "  found:   \"words\"\n  try:     --text-col NAME",
     FV_BAD_DATA},
};

static void set_options(fv_dataset_options *o, const char *settings, char *room) {
    fv_options_init(fv_dataset_option_rows(), o);
    strcpy(room, settings);
    for (char *rest = NULL, *one = strtok_r(room, " ", &rest); one; one = strtok_r(NULL, " ", &rest)) {
        char *value = strchr(one, '=');
        if (!value) continue;
        *value++ = 0;
        assert_int_equal(fv_options_set(fv_dataset_option_rows(), o, one, value), FV_OK);
    }
}

static const char *const pets[] = {"cat", "dog"};
static const fv_classes known = {2, pets};

static void test_bad_input(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bads / sizeof *bads; i++) {
        const bad *b = &bads[i];
        char room[256], bytes[256];
        fv_dataset_options o;
        fv_dataset *data = (fv_dataset *)1;
        size_t size = strlen(b->bytes);
        for (size_t k = 0; k < size; k++) bytes[k] = b->bytes[k] == 1 ? 0 : b->bytes[k];
        set_options(&o, b->settings, room);
        fv_status status =
            fv_dataset_parse(&data, b->name, bytes, size, &o, strstr(b->settings, "known") ? &known : NULL,
                             !strstr(b->settings, "unlabelled"));
        assert_string_equal(fv_message(), b->message);
        assert_int_equal(status, b->status);
        assert_null(data);
    }
    assert_true(sizeof bads / sizeof *bads >= 25);
}

static void test_bad_files(void **state) {
    (void)state;
    fv_dataset *data;
    char expected[600];
    const char *missing = scratch_path("missing.csv"), *folder = scratch_folder;
    assert_int_equal(fv_dataset_read(&data, &missing, 1, NULL, NULL), FV_BAD_DATA);
    snprintf(expected, sizeof expected, "%s: cannot open: No such file or directory", missing);
    assert_string_equal(fv_message(), expected);
    assert_int_equal(fv_dataset_read(&data, &folder, 1, NULL, NULL), FV_BAD_DATA);
    snprintf(expected, sizeof expected, "%s: cannot be read\n  expected a file\n  found:   a folder", folder);
    assert_string_equal(fv_message(), expected);
    assert_int_equal(fv_dataset_read(&data, &missing, 0, NULL, NULL), FV_USAGE);
    assert_string_equal(fv_message(), "data files\n  expected at least one path\n  found:   none");
}

/* ---- good input */

static fv_dataset *parse(const char *name, const char *bytes, const char *settings, bool labelled) {
    char room[256];
    fv_dataset_options o;
    fv_dataset *data = NULL;
    set_options(&o, settings, room);
    if (fv_dataset_parse(&data, name, bytes, strlen(bytes), &o, NULL, labelled) != FV_OK) fail_msg("%s", fv_message());
    return data;
}

/* text|label of row i */
static void check_row(const fv_dataset *d, int64_t i, const char *text, const char *label, int64_t line) {
    assert_string_equal(d->texts.text[i], text);
    assert_int_equal(d->texts.size[i], strlen(text));
    if (label) assert_string_equal(d->classes.name[d->label[i]], label);
    assert_int_equal(d->line[i], line);
}

static void test_formats(void **state) {
    (void)state;
    static const struct {
        const char *name, *bytes, *settings;
    } same[] = {
        {"a.csv",
         "\xEF\xBB\xBF"
         "label,text\r\nzoo,\"one, \"\"two\"\"\"\r\nant,three\r\n",
         ""},
        {"a.csv", "text,label\n\"one, \"\"two\"\"\",zoo\nthree,ant\n", ""},
        {"a.tsv", "zoo\tone, \"two\"\nant\tthree\n", "label-col=1 text-col=2"},
        {"a.jsonl", "{\"label\":\"zoo\",\"text\":\"one, \\\"two\\\"\"}\n\n{\"text\":\"three\",\"label\":\"ant\"}", ""},
        {"a.jsonl", "{\"l\":{\"m\":\"zoo\"},\"t\":\"one, \\\"two\\\"\"}\n{\"t\":\"three\",\"l\":{\"m\":\"ant\"}}",
         "text-col=t label-col=l.m"},
        {"a.txt", "__label__zoo one, \"two\"\n\n__label__ant three", ""},
        {"a.txt", "__label__zoo __label__x one, \"two\"\n__label__ant three", "labels=first"},
        {"a", "label\ttext\nzoo\tone, \"two\"\nant\tthree\n", "input-format=tsv"}};
    static const int64_t line[][2] = {{2, 3}, {2, 3}, {1, 2}, {1, 3}, {1, 2}, {1, 3}, {1, 2}, {2, 3}};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        fv_dataset *d = parse(same[i].name, same[i].bytes, same[i].settings, true);
        assert_int_equal(d->texts.count, 2);
        assert_int_equal(d->classes.count, 2);
        assert_string_equal(d->classes.name[0], "ant"); /* sorted by name, not by appearance */
        check_row(d, 0, "one, \"two\"", "zoo", line[i][0]);
        check_row(d, 1, "three", "ant", line[i][1]);
        fv_dataset_free(d);
    }
}

static void test_columns(void **state) {
    (void)state;
    fv_dataset *d = parse("a.csv", "id,title,body,y\n1,A,b c,7\n2,D,,8\n", "text-col=title,body label-col=y", true);
    check_row(d, 0, "A b c", "7", 2);
    check_row(d, 1, "D ", "8", 3);
    fv_dataset_free(d);
    d = parse("n.jsonl", "{\"text\":1.5,\"label\":true}\n{\"text\":\"x\",\"label\":0}\n", "", true);
    check_row(d, 0, "1.5", "true", 1);
    check_row(d, 1, "x", "0", 2);
    fv_dataset_free(d);
}

static void test_without_labels(void **state) {
    (void)state;
    fv_dataset *d = parse("a.txt", "one\n\n__label__x two\nthree, \"four\"", "", false);
    assert_int_equal(d->texts.count, 4);
    assert_null(d->label);
    check_row(d, 0, "one", NULL, 1);
    check_row(d, 1, "", NULL, 2); /* a line is a text, also an empty one: answers stay in step */
    check_row(d, 2, "two", NULL, 3);
    check_row(d, 3, "three, \"four\"", NULL, 4);
    fv_dataset_free(d);
    d = parse("a.csv", "label,text\nx,\"l1\nl2\"\n", "", false);
    assert_int_equal(d->texts.count, 1);
    check_row(d, 0, "l1\nl2", NULL, 2);
    fv_dataset_free(d);
}

static void test_known_classes(void **state) {
    (void)state;
    fv_dataset *d;
    const char text[] = "label,text\ndog,a\ndog,b\n"; /* one class is enough when the classes are known */
    assert_int_equal(fv_dataset_parse(&d, "a.csv", text, strlen(text), NULL, &known, true), FV_OK);
    assert_int_equal(d->label[1], 1);
    assert_int_equal(d->classes.count, 2);
    fv_dataset_free(d);
}

static void test_several_files(void **state) {
    (void)state;
    const char *path[] = {scratch_file("1.csv", "label,text\na,x\n", 15), scratch_file("2.txt", "__label__b y\n", 13)};
    fv_dataset *d;
    assert_int_equal(fv_dataset_read(&d, path, 2, NULL, NULL), FV_OK);
    assert_int_equal(d->texts.count, 2);
    assert_int_equal(d->file[1], 1);
    check_row(d, 1, "y", "b", 1);
    fv_dataset_free(d);
}

static void test_of_and_select(void **state) {
    (void)state;
    const char *text[] = {"x", "yy", "z"};
    size_t size[] = {1, 2, 1};
    int32_t label[] = {1, 0, 1}, wrong[] = {0, 2, 0};
    int64_t row[] = {2, 1, 2}, outside[] = {3};
    fv_dataset *d, *s;
    assert_int_equal(fv_dataset_of(&d, (fv_texts){3, text, size}, wrong, known), FV_USAGE);
    assert_int_equal(fv_dataset_of(&d, (fv_texts){3, text, size}, label, known), FV_OK);
    assert_int_equal(fv_dataset_select(&s, d, outside, 1), FV_USAGE);
    assert_int_equal(fv_dataset_select(&s, d, row, 3), FV_OK);
    fv_dataset_free(d); /* the selection keeps the texts alive */
    check_row(s, 0, "z", "dog", 3);
    check_row(s, 1, "yy", "cat", 2);
    fv_dataset_free(s);
}

/* What cannot be seen at the ends of a label makes no other class. */
static void test_labels_are_trimmed(void **state) {
    (void)state;
    fv_dataset *d = parse("a.csv",
                          "label,text\na ,x\n\"\xEF\xBB\xBF"
                          "a\",y\n\"\ta\",z\nb,w\n\xE3\x80\x80"
                          "b\xC2\xA0,v\n",
                          "", true);
    assert_int_equal(d->classes.count, 2);
    for (int i = 0; i < 5; i++) assert_int_equal(d->label[i], i > 2);
    fv_dataset_free(d);
    d = parse("a.jsonl",
              "{\"text\":\"x\",\"label\":1,\"id\":18446744073709551615}\n{\"text\":\"y\",\"label\":2}\n"
              "{\"text\":\"z\",\"label\":1}\n{\"text\":\"w\",\"label\":2,\"u\":{\"id\":9223372036854775808}}\n",
              "", true);
    assert_int_equal(d->classes.count, 2);
    assert_string_equal(d->classes.name[0], "1");
    fv_dataset_free(d);
    const char *const old[] = {"a ", "b"}; /* a model of before may have classes with blanks */
    const char text[] = "label,text\na ,x\n b,y\n";
    assert_int_equal(fv_dataset_parse(&d, "a.csv", text, strlen(text), NULL, &(fv_classes){2, old}, true), FV_OK);
    assert_int_equal(d->label[0], 0);
    assert_int_equal(d->label[1], 1);
    fv_dataset_free(d);
}

static char said[512];
static int said_lines;
static void hear(void *context, fv_log_level level, const char *line) {
    (void)context;
    if (level != FV_LOG_WARN) return;
    said_lines++;
    snprintf(said, sizeof said, "%s", line);
}

static void listen(bool on) {
    fv_set_log(on ? hear : NULL, NULL);
    if (on) said[0] = 0, said_lines = 0;
}

/* A header that nobody asked for by name does not become a class in silence. */
static void test_header_by_number(void **state) {
    (void)state;
    listen(true);
    fv_dataset *d = parse("h.csv", "Note,Kommentar\n1,a\n2,b\n1,c\n", "label-col=1 text-col=2", true);
    assert_int_equal(d->classes.count, 3);
    assert_string_equal(said,
                        "h.csv:1: no other row has the label \"Note\": is this the header?\n  try:     --header yes");
    fv_dataset_free(d);
    listen(true);
    d = parse("h.csv", "label,text\n1,a\n2,b\n1,c\n", "label-col=1 text-col=2", true);
    assert_int_equal(d->classes.count, 2);
    fv_dataset_free(d);
    d = parse("h.csv", "1,a\n2,b\n1,c\n2,d\n", "label-col=1 text-col=2", true);
    assert_int_equal(d->texts.count, 4);
    fv_dataset_free(d);
    assert_int_equal(said_lines, 0);
    listen(false);
}

/* Lines that are to be answered: one text for each, whatever is in it, and none for none. */
static void test_lines_to_answer(void **state) {
    (void)state;
    const char text[] = "a mail reader\n__label__ what\n__label__x caf\xE9\n\nplain";
    fv_dataset *d;
    listen(true);
    assert_int_equal(fv_dataset_parse_lines(&d, "standard input", text, strlen(text), 7, NULL), FV_OK);
    assert_string_equal(said,
                        "standard input:9: not UTF-8: byte 0xE9\n  try:     iconv -f WINDOWS-1252 -t UTF-8 in front "
                        "of it\n  read with U+FFFD in its place");
    listen(false);
    assert_int_equal(d->texts.count, 5);
    check_row(d, 1, "__label__ what", NULL, 8);
    check_row(d, 2, "caf\xEF\xBF\xBD", NULL, 9);
    check_row(d, 4, "plain", NULL, 11);
    fv_dataset_free(d);
    assert_int_equal(fv_dataset_parse_lines(&d, "standard input", "", 0, 1, NULL), FV_OK);
    assert_int_equal(d->texts.count, 0);
    fv_dataset_free(d);
}

/* ---- splits */

/* Rows "LABEL,TEXT" of a stratified split with the usual shares: how many of the class are on each side. */
static void split_of(const char *rows, const char *label, int64_t *train, int64_t *valid) {
    fv_dataset *all = parse("s.csv", rows, "header=no label-col=1 text-col=2", true), *part[2];
    assert_int_equal(fv_dataset_split(&part[0], &part[1], NULL, all, NULL), FV_OK);
    int64_t *count[] = {train, valid};
    for (int k = 0; k < 2; k++) {
        *count[k] = 0;
        for (int64_t i = 0; i < part[k]->texts.count; i++)
            *count[k] += !strcmp(part[k]->classes.name[part[k]->label[i]], label);
        fv_dataset_free(part[k]);
    }
    fv_dataset_free(all);
}

/* A class of equal texts is on both sides, in the shares it should have. */
static void test_split_of_equal_texts(void **state) {
    (void)state;
    for (int equal = 12; equal <= 30; equal += 6)
        for (int other = 0; other < 3; other++) {
            fv__buf rows = {0};
            int64_t train, valid, total = equal + other;
            for (int i = 0; i < equal; i++) fv__buf_printf(&rows, "dup,no comment %d\n", other);
            for (int i = 0; i < other; i++) fv__buf_printf(&rows, "dup,comment %d\n", i);
            for (int i = 0; i < 40; i++) fv__buf_printf(&rows, "%c,text %d\n", 'a' + i % 2, i);
            listen(true);
            split_of(rows.data, "dup", &train, &valid);
            listen(false);
            assert_int_equal(train + valid, total);
            assert_in_range(valid, 1, total / 4);
            fv__buf_free(&rows);
        }
    assert_string_equal(said, "split: class \"dup\" has so many equal texts that they stand on both sides");
}

/* Groups of equal texts that leave enough of the class to both sides stay together. */
static void test_split_keeps_groups(void **state) {
    (void)state;
    fv__buf rows = {0};
    for (int i = 0; i < 400; i++) fv__buf_printf(&rows, "%c,text %d\n", 'a' + i % 2, i / 8 * 2 + i % 2);
    fv_dataset *all = parse("s.csv", rows.data, "header=no label-col=1 text-col=2", true), *train, *valid;
    int64_t both;
    assert_int_equal(fv_dataset_split(&train, &valid, NULL, all, NULL), FV_OK);
    assert_in_range(valid->texts.count, 20, 60);
    assert_int_equal(fv_dataset_overlap(valid, train, &both), FV_OK);
    assert_int_equal(both, 0);
    assert_int_equal(fv_dataset_overlap(valid, all, &both), FV_OK);
    assert_int_equal(both, valid->texts.count);
    fv_dataset_free(train);
    fv_dataset_free(valid);
    fv_dataset_free(all);
    fv__buf_free(&rows);
}

/* A text with two labels is asked about or taught, not both. */
static void test_split_of_two_labels(void **state) {
    (void)state;
    fv__buf rows = {0};
    for (int i = 0; i < 200; i++) fv__buf_printf(&rows, "%c,text %d\n", 'a' + i % 2, i / 2);
    fv_dataset *all = parse("s.csv", rows.data, "header=no label-col=1 text-col=2", true), *train, *valid;
    int64_t both;
    listen(true);
    assert_int_equal(fv_dataset_split(&train, &valid, NULL, all, NULL), FV_OK);
    listen(false);
    assert_string_equal(said, "split: 100 texts have two labels, such as that of s.csv:1; each is on one side");
    assert_int_equal(fv_dataset_overlap(valid, train, &both), FV_OK);
    assert_int_equal(both, 0);
    assert_in_range(valid->texts.count, 10, 30);
    fv_dataset_free(train);
    fv_dataset_free(valid);
    fv_dataset_free(all);
    fv__buf_free(&rows);
}

static fv_dataset *numbered(int rows, int skip) {
    fv__buf text = {0};
    fv__buf_text(&text, "label,text,part\n");
    for (int i = 0; i < rows; i++)
        if (i != skip)
            fv__buf_printf(&text, "%s,text number %d,%s\n", i % 4 ? "many" : "few", i / 2 * 2,
                           i % 3   ? "train"
                           : i % 2 ? "dev"
                                   : "TEST");
    fv_dataset *d = parse("n.csv", text.data, "split-col=part", true);
    fv__buf_free(&text);
    return d;
}

static bool holds(const fv_dataset *d, const char *text) {
    for (int64_t i = 0; i < d->texts.count; i++)
        if (!strcmp(d->texts.text[i], text)) return true;
    return false;
}

static void test_split_is_stable(void **state) {
    (void)state;
    fv_split_options o = {"hash", 0.2, 0.3, 7};
    fv_dataset *all = numbered(2000, -1), *less = numbered(2000, 10), *part[3], *again[3];
    assert_int_equal(fv_dataset_split(&part[0], &part[1], &part[2], all, &o), FV_OK);
    assert_int_equal(fv_dataset_split(&again[0], &again[1], &again[2], less, &o), FV_OK);
    assert_int_equal(part[0]->texts.count + part[1]->texts.count + part[2]->texts.count, 2000);
    assert_in_range(part[1]->texts.count, 340, 460);
    assert_in_range(part[2]->texts.count, 520, 680);
    for (int k = 0; k < 3; k++)
        for (int64_t i = 0; i < again[k]->texts.count; i++) {
            assert_true(holds(part[k], again[k]->texts.text[i]));            /* nothing moved */
            assert_false(holds(part[(k + 1) % 3], again[k]->texts.text[i])); /* equal texts are on one side */
        }
    for (int k = 0; k < 3; k++) fv_dataset_free(part[k]), fv_dataset_free(again[k]);
    fv_dataset_free(all);
    fv_dataset_free(less);
}

static int64_t count_class(const fv_dataset *d, int32_t label) {
    int64_t n = 0;
    for (int64_t i = 0; i < d->texts.count; i++) n += d->label[i] == label;
    return n;
}

static void test_split_keeps_classes(void **state) {
    (void)state;
    fv_split_options o = {"stratified", 0.1, 0.2, 1};
    fv_dataset *all = numbered(2000, -1), *part[3];
    assert_int_equal(fv_dataset_split(&part[0], &part[1], &part[2], all, &o), FV_OK);
    for (int32_t c = 0; c < 2; c++) {
        assert_in_range(count_class(part[1], c), count_class(all, c) / 10 - 2, count_class(all, c) / 10 + 2);
        assert_in_range(count_class(part[2], c), count_class(all, c) / 5 - 2, count_class(all, c) / 5 + 2);
    }
    fv_dataset *only;
    assert_int_equal(fv_dataset_split(&only, NULL, NULL, all, &o), FV_OK);
    assert_int_equal(only->texts.count, part[0]->texts.count);
    fv_dataset_free(only);
    for (int k = 0; k < 3; k++) fv_dataset_free(part[k]);
    fv_dataset_free(all);
}

static void test_split_by_column(void **state) {
    (void)state;
    fv_split_options o = {"column", 0, 0, 1}, too_much = {"hash", 0.5, 0.6, 1};
    fv_dataset *all = numbered(60, -1), *part[3];
    assert_int_equal(fv_dataset_split(&part[0], &part[1], &part[2], all, &o), FV_OK);
    assert_int_equal(part[0]->texts.count, 40);
    assert_int_equal(part[1]->texts.count, 10);
    assert_int_equal(part[2]->texts.count, 10);
    for (int k = 0; k < 3; k++) fv_dataset_free(part[k]);
    assert_int_equal(fv_dataset_split(&part[0], &part[1], &part[2], all, &too_much), FV_USAGE);
    assert_string_equal(
        fv_message(),
        "split: shares for valid and test\n  expected from 0, together less than 1\n  found:   0.5 and 0.6");
    fv_dataset_free(all);
    all = parse("a.csv", "label,text\na,x\nb,y\n", "", true);
    assert_int_equal(fv_dataset_split(&part[0], NULL, NULL, all, &o), FV_USAGE);
    assert_string_equal(fv_message(), "split by column: the data was read without one\n  try: --split-col COLUMN");
    fv_dataset_free(all);
}

/* ---- no memory: every allocation fails once, and nothing leaks (the sanitizer build sees to that) */

static void test_no_memory(void **state) {
    (void)state;
    const char text[] = "label,text,part\na,x,train\nb,y,train\na,z,valid\n";
    fv_dataset_options o;
    fv_split_options by_hash = {"stratified", 0.1, 0, 1};
    fv_options_init(fv_dataset_option_rows(), &o);
    o.split_col = "part";
    bool done = false;
    for (int n = 1; n < 500 && !done; n++) {
        fv_dataset *d = NULL, *train = NULL, *valid = NULL;
        fv__inject(FV_FAULT_ALLOC, n, false);
        fv_status status = fv_dataset_parse(&d, "a.csv", text, strlen(text), &o, NULL, true);
        if (status == FV_OK) status = fv_dataset_split(&train, &valid, NULL, d, &by_hash);
        done = status == FV_OK;
        fv__inject(FV_FAULT_ALLOC, 0, false);
        assert_true(done || status == FV_NO_RESOURCES);
        fv_dataset_free(d);
        fv_dataset_free(train);
        fv_dataset_free(valid);
    }
    assert_true(done);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bad_input),
                                       cmocka_unit_test(test_bad_files),
                                       cmocka_unit_test(test_formats),
                                       cmocka_unit_test(test_columns),
                                       cmocka_unit_test(test_without_labels),
                                       cmocka_unit_test(test_known_classes),
                                       cmocka_unit_test(test_several_files),
                                       cmocka_unit_test(test_of_and_select),
                                       cmocka_unit_test(test_split_is_stable),
                                       cmocka_unit_test(test_split_keeps_classes),
                                       cmocka_unit_test(test_split_by_column),
                                       cmocka_unit_test(test_no_memory),
                                       cmocka_unit_test(test_labels_are_trimmed),
                                       cmocka_unit_test(test_header_by_number),
                                       cmocka_unit_test(test_lines_to_answer),
                                       cmocka_unit_test(test_split_of_equal_texts),
                                       cmocka_unit_test(test_split_keeps_groups),
                                       cmocka_unit_test(test_split_of_two_labels)};
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
