/* Repeats a random call, and counts what the programs test_random_*.c have tried: see random_calls.h. */
#include "random_calls.h"

/* Every feature with every other, each often enough to matter. */
static void assert_pairs(int64_t seen[FEATURES][FEATURES], int64_t least) {
    for (int a = 0; a < FEATURES; a++)
        for (int b = 0; b <= a; b++) {
            if (exact_excludes((exact_feature)a, (exact_feature)b)) {
                assert_int_equal(seen[a][b], 0);
                continue;
            }
            if (seen[a][b] < least)
                fprintf(stderr, "%s with %s: %lld problems\n", exact_feature_names[a], exact_feature_names[b],
                        (long long)seen[a][b]);
            assert_true(seen[a][b] >= least);
        }
}

/* The features of all problems that the programs share, without running them. */
static void every_pair(void **state) {
    (void)state;
    static int64_t seen[FEATURES][FEATURES];
    int64_t problems = 0;
    for (int m = 0; m < EXACT_MECHANISMS; m++)
        for (uint64_t seed = 1; seed <= exact_count(m); seed++, problems++) {
            exact_case e;
            exact_make(&e, exact_mechanisms[m], seed, FV_F32, work_of(seed), 0);
            for (int a = 0; a < FEATURES; a++)
                for (int b = 0; b < FEATURES; b++) seen[a][b] += e.on[a] && e.on[b];
            exact_free(&e);
        }
    assert_true(problems >= (random_many() ? 100000 : random_few() ? 1000 : 20000));
    if (!random_few()) assert_pairs(seen, random_many() ? 400 : 60);
}

int main(int argc, char **argv) {
    if (argc == 3) {
        const uint64_t seed = strtoull(argv[2], NULL, 10);
        if (!strncmp(argv[1], "softmax", 7) || !strncmp(argv[1], "window", 6)) one_exact(argv[1], seed);
        one(argv[1], seed, longest_of(seed));
        if (!failures) fprintf(stderr, "passed\n");
        return failures != 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_pair)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
