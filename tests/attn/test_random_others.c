/* Random calls, a part of them: one half of the mechanisms besides softmax and window. See random_calls.h. */
#include "random_calls.h"

static void others(void **state) { (void)state, others_share(0, 2); }

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(others)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
