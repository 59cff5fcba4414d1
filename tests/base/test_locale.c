/* Numbers in messages and files have a point, whatever the language of the host program says. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"
#include "support/scratch.h"

#include <locale.h>

/* A machine with no language but C: one is made from the sources of locales, where they are. */
static bool make_locale(void) {
    char command[256];
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8 >/dev/null 2>&1", scratch_folder);
    if (system(command)) return false;
    setenv("LOCPATH", scratch_folder, 1);
    return setlocale(LC_NUMERIC, "de_DE.UTF-8") != NULL;
}

/* The host program may run in a language that writes 1,5. */
static void numbers_ignore_the_locale(void **state) {
    (void)state;
    static const char *const tried[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8"};
    bool found = false;
    for (int i = 0; i < 3 && !found; i++) found = setlocale(LC_NUMERIC, tried[i]) != NULL;
    if (!found) found = make_locale();
    double f;
    char text[32];
    fv__buf b = {0};
    assert_true(fv__parse_float("1.5", &f) && f == 1.5);
    fv__print_float(text, 1.5);
    assert_string_equal(text, "1.5");
    fv__buf_printf(&b, "%.1f", 1.5);
    assert_string_equal(b.data, "1.5");
    fv__buf_free(&b);
    fv__fail(FV_USAGE, "found: %g", 1.5);
    assert_string_equal(fv_message(), "found: 1.5");
    fv__format(text, sizeof text, "%.2f", 0.25);
    assert_string_equal(text, "0.25");
    setlocale(LC_NUMERIC, "C");
    if (!found) print_message("no locale with a decimal comma on this machine\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(numbers_ignore_the_locale)};
    return cmocka_run_group_tests_name("locale", tests, scratch_make, scratch_remove);
}
