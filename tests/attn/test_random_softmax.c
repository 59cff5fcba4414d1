/* Random calls, a part of them: one half of those of softmax. See random_calls.h. */
#include "random_calls.h"

static void softmax(void **state) { (void)state, exact_share(0, 0, 2); }

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(softmax)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
