/* The parts of data recipes: MD5, Unicode text, control files, processes; and the whole recipe on a made-up archive,
 * where programs of the test stand for apt. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/stat.h>

#include "data/recipe/deb822.h"
#include "data/recipe/md5.h"
#include "data/recipe/process.h"
#include "data/text.h"
#include "fovea/data.h"
#include "support/scratch.h"

/* ---- MD5: the test suite of RFC 1321, A.5 */

static void test_md5(void **state) {
    (void)state;
    static const char *const known[][2] = {
        {"", "d41d8cd98f00b204e9800998ecf8427e"},
        {"a", "0cc175b9c0f1b6a831c399e269772661"},
        {"abc", "900150983cd24fb0d6963f7d28e17f72"},
        {"message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
        {"abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "d174ab98d277d9f5a5611c2c9f419d9f"},
        {"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
         "57edf4a22be3c955ac49da2e2107b67a"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char hex[33];
        fv__md5_hex(hex, known[i][0], strlen(known[i][0]));
        assert_string_equal(hex, known[i][1]);
    }
    assert_int_equal(fv__md5_mod("", 0, 10), 6); /* the digest as one number, worked out elsewhere */
    assert_int_equal(fv__md5_mod("abc", 3, 10), 0);
}

/* ---- text: what Python gives */

static void check_text(void fn(fv__buf *, const char *, size_t), const char *text, const char *expected) {
    fv__buf out = {0};
    fv__buf_text(&out, "");
    fn(&out, text, strlen(text));
    assert_string_equal(out.data ? out.data : "", expected);
    fv__buf_free(&out);
}

static void test_text(void **state) {
    (void)state;
    check_text(fv__text_one_line,
               " a \t\n b\xC2\xA0\xE2\x80\x83"
               "c \x1C",
               "a b c");
    check_text(fv__text_one_line, "", "");
    check_text(fv__text_words,
               "--a_b, C++ caf\xC3\xA9! \xC2\xB2 \xE2\x82\xAC"
               "5 e\xCC\x81x",
               "a_b C caf\xC3\xA9 \xC2\xB2 5 e x");
    check_text(
        fv__text_lower,
        "ABC \xC3\x89 \xC4\xB0 \xCE\x9F\xCE\x94\xCE\x9F\xCE\xA3 \xCE\xA3\xCE\x91", /* ODOS ends in a final sigma */
        "abc \xC3\xA9 i\xCC\x87 \xCE\xBF\xCE\xB4\xCE\xBF\xCF\x82 \xCF\x83\xCE\xB1");
    check_text(fv__text_repair,
               "a\xFF"
               "b\xE4\xB8"
               "c\xED\xA0\x80",
               "a\xEF\xBF\xBD"
               "b\xEF\xBF\xBD"
               "c\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    assert_int_equal(fv__text_count_words("  a b\xC2\xA0"
                                          "c\n",
                                          8),
                     3);
    const char *text = "\n a \x1F";
    assert_int_equal(fv__text_strip(&text, strlen(text)), 1);
    assert_int_equal(*text, 'a');
}

/* ---- control files */

static void check_field(const fv__deb822 *r, const char *key, const char *expected) {
    fv__slice s = fv__deb822_get(r, key);
    assert_non_null(s.text);
    assert_int_equal(s.size, strlen(expected));
    assert_memory_equal(s.text, expected, s.size);
}

static void test_deb822(void **state) {
    (void)state;
    static const char text[] =
        "\n\nPackage:  one \nDescription: short\n long: line\n .\n\tmore\nEmpty:\nTwice: 1\nTwice: 2\nno colon\n\n\n"
        "Package: two\nUrl: http://x:1";
    fv__deb822 r = {.text = text, .size = sizeof text - 1};
    assert_true(fv__deb822_next(&r));
    check_field(&r, "Package", "one");
    check_field(&r, "Description", "short\n long: line\n .\n\tmore");
    check_field(&r, "Empty", "");
    check_field(&r, "Twice", "2");
    assert_null(fv__deb822_get(&r, "Url").text);
    assert_true(fv__deb822_next(&r));
    check_field(&r, "Package", "two");
    check_field(&r, "Url", "http://x:1");
    assert_false(fv__deb822_next(&r));
    assert_int_equal(fv__deb822_status(&r), FV_OK);
    fv__deb822_free(&r);
}

/* ---- processes */

static void test_run(void **state) {
    (void)state;
    const char *echo[] = {"echo", "a b", "$HOME;'", NULL}, *fails[] = {"sh", "-c", "echo no >&2; exit 7", NULL},
               *none[] = {"no-such-program", NULL};
    const char *log = scratch_path("log");
    fv__buf out = {0};
    int code;
    assert_int_equal(fv__run(echo, log, &out, &code), FV_OK);
    assert_int_equal(code, 0);
    assert_string_equal(out.data, "a b $HOME;'\n"); /* no shell looked at it */
    assert_int_equal(fv__run(fails, log, NULL, &code), FV_OK);
    assert_int_equal(code, 7);
    assert_true(scratch_holds(log, "no\n", 3));
    assert_int_equal(fv__run(none, log, NULL, &code), FV_OK);
    assert_int_equal(code, FV__NOT_FOUND);
    fv_interrupt();
    assert_int_equal(fv__run(echo, log, NULL, &code), FV_INTERRUPTED);
    fv_interrupt_clear();
    fv__buf_free(&out);
}

/* ---- the recipe, with programs of ours in PATH */

static void write_program(const char *name, const char *text) {
    const char *path = scratch_file(name, text, strlen(text));
    assert_int_equal(chmod(path, 0755), 0);
}

static char *old_path;

static void use_path(const char *path) { assert_int_equal(setenv("PATH", path, 1), 0); }

static void test_no_apt(void **state) {
    (void)state;
    use_path("/nowhere");
    assert_int_equal(fv_recipe_make("app16", scratch_path("a")), FV_BAD_DATA);
    use_path(old_path);
    assert_string_equal(
        fv_message(),
        "data: this set is made from the package indexes of Debian\n  expected a Debian or Ubuntu system\n"
        "  found:   no apt-get\n"
        "  try:     run the recipe on such a machine (a container will do) and copy the folder here");
}

static void test_no_network(void **state) {
    (void)state;
    char path[600];
    write_program("apt-get",
                  "#!/bin/sh\ncase \"$*\" in *update*) echo 'W: Temporary failure resolving' >&2; exit 100;; esac\n");
    snprintf(path, sizeof path, "%s:%s", scratch_folder, old_path);
    use_path(path);
    fv_status status = fv_recipe_make("app16", scratch_path("b"));
    use_path(old_path);
    if (fv__path_exists("/usr/share/keyrings/debian-archive-keyring.gpg")) {
        assert_int_equal(status, FV_FAIL);
        assert_string_equal(fv_message(),
                            "apt-get update: no package index of Debian bookworm came\n"
                            "  apt-get said: W: Temporary failure resolving\n"
                            "  try:     check the network or the proxy (http_proxy), then run the same command again");
    } else {
        assert_int_equal(status, FV_BAD_DATA);
        assert_non_null(strstr(fv_message(), "try:      apt-get install debian-archive-keyring"));
    }
}

#define LONG "one two three four five six seven eight nine ten eleven twelve thirteen"
static const char packages[] =
    "Package: libzed-dev\nSource: zed (1.0)\nSection: libdevel\nDescription-md5: m1\n\n"
    "Package: zedx\nSource: zed\nSection: contrib/editors\nDescription: short text " LONG
    "\nDescription-md5: m2\n\n"
    "Package: same\nSection: net\nDescription-md5: m3\n\n"
    "Package: tame\nSection: net\nDescription-md5: m4\n\n"
    "Package: tiny\nSection: net\nDescription-md5: m5\n\n"
    "Package: libs\nSection: libs\nDescription-md5: m6\n";
static const char english[] = "Package: same\nDescription-md5: m3\nDescription-en: title\n The same tool, " LONG
                              "\n .\n Second\n\n"
                              "Package: tame\nDescription-md5: m4\nDescription-en: title\n The TAME tool, " LONG
                              "\n .\n Second\n\n"
                              "Package: tiny\nDescription-md5: m5\nDescription-en: a\n few words\n\n"
                              "Package: libs\nDescription-md5: m6\nDescription-en: library\n of words\n";

/* zed stands for its source with the short description (there is no long one); tame is same again but for its name;
 * tiny is too short; libs is of no section that counts, but its text is without label. */
static void test_recipe(void **state) {
    (void)state;
    char path[600], program[2000];
    struct stat helper;
    if (stat("/usr/lib/apt/apt-helper", &helper)) skip();
    scratch_file("Packages", packages, sizeof packages - 1);
    scratch_file("Translation-en", english, sizeof english - 1);
    snprintf(program, sizeof program,
             "#!/bin/sh\ncase \"$*\" in *Packages*) echo %s/Packages;; *Translations*) echo %s/Translation-en;; esac\n"
             "echo call >> %s/calls\n",
             scratch_folder, scratch_folder, scratch_folder);
    write_program("apt-get", program);
    snprintf(path, sizeof path, "%s:%s", scratch_folder, old_path);
    use_path(path);
    char folder[600], file[700];
    snprintf(folder, sizeof folder, "%s/c", scratch_folder);
    if (fv_recipe_make("app16", folder) != FV_OK) fail_msg("%s", fv_message());
    const char *zed = "editors\tshort text " LONG "\n", *same = "net\ttitle The same tool, " LONG " Second\n";
    static const char *const part[] = {"train.tsv", "valid.tsv", "test.tsv"};
    int zed_bucket = fv__md5_mod("zed", 3, 10), same_bucket = fv__md5_mod("same", 4, 10);
    for (int i = 0; i < 3; i++) {
        char expected[600] = "label\ttext\n";
        if ((zed_bucket == 8 ? 1 : zed_bucket == 9 ? 2 : 0) == i) strcat(expected, zed);
        if ((same_bucket == 8 ? 1 : same_bucket == 9 ? 2 : 0) == i) strcat(expected, same);
        snprintf(file, sizeof file, "%s/%s", folder, part[i]);
        assert_true(scratch_holds(file, expected, strlen(expected)));
    }
    snprintf(file, sizeof file, "%s/README", folder);
    assert_true(fv__path_exists(file));
    fv__file calls, again;
    assert_int_equal(fv__file_read(&calls, scratch_path("calls")), FV_OK);
    assert_int_equal(fv_recipe_make("app16", folder), FV_OK); /* complete: apt is not asked again */
    assert_int_equal(fv__file_read(&again, scratch_path("calls")), FV_OK);
    assert_int_equal(calls.size, again.size);
    fv__file_free(&again);
    snprintf(file, sizeof file, "%s/train.tsv", folder);
    assert_int_equal(fv__write_file(file, "label\ttext\n", 11), FV_OK);
    assert_int_equal(fv_recipe_make("app16", folder), FV_OK); /* damaged: made again */
    assert_int_equal(fv__file_read(&again, scratch_path("calls")), FV_OK);
    assert_true(again.size > calls.size);
    fv__file_free(&again);
    fv__file_free(&calls);
    use_path(old_path);
}

static void test_bad_index(void **state) {
    (void)state;
    char path[600];
    struct stat helper;
    if (stat("/usr/lib/apt/apt-helper", &helper)) skip();
    scratch_file("Packages", "Section: net\n", 13);
    snprintf(path, sizeof path, "%s:%s", scratch_folder, old_path);
    use_path(path);
    assert_int_equal(fv_recipe_make("app16", scratch_path("d")), FV_BAD_DATA);
    use_path(old_path);
    assert_string_equal(
        fv_message(),
        "package index: the entry of \"\" has no field Package\n  try: remove .apt in this folder and run again");
}

static void test_names(void **state) {
    (void)state;
    assert_string_equal(fv_recipe_at(0)->name, "app16");
    assert_null(fv_recipe_at(-1));
    assert_null(fv_recipe_at(1000));
    assert_int_equal(fv_recipe_make("app17", scratch_path("e")), FV_USAGE);
    assert_string_equal(fv_message(),
                        "unknown data set\n  expected one of: app16\n  found:   \"app17\"\n  try:     app16");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_md5),    cmocka_unit_test(test_text),      cmocka_unit_test(test_deb822),
        cmocka_unit_test(test_run),    cmocka_unit_test(test_no_apt),    cmocka_unit_test(test_no_network),
        cmocka_unit_test(test_recipe), cmocka_unit_test(test_bad_index), cmocka_unit_test(test_names)};
    old_path = strdup(getenv("PATH"));
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
