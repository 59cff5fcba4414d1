/* Random calls, a part of them: those of window. See random_calls.h. */
#include "random_calls.h"

static void near(void **state) { (void)state, exact_share(1, 0, 1); }
static void past(void **state) { (void)state, exact_share(2, 0, 1); }

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(near), cmocka_unit_test(past)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
