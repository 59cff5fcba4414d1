/* Buckets of relative positions. Raffel et al., T5, 2020, arXiv 1910.10683, section 2.1, and the authors' code:
 *
 *   n = how far the key lies in the past        side = all buckets; a key in the future counts as distance 0
 *   n = |j - i|, other buckets for j > i        side = half of them (bidirectional)
 *   bucket = n                                                                                      n < E = side / 2
 *            min(side - 1, E + floor(ln(n / E) / ln(max_distance / E) (side - E)))                  else
 *
 * The buckets of a side are ranges of distances in their order, so each is known by its smallest: no logarithm is taken
 * in a tile. */
#include "attn/position/t5_buckets.h"

#include <math.h>

int64_t fv__t5_bucket_formula(int64_t distance, int64_t side, int64_t max_distance) {
    const int64_t exact = side / 2;
    if (distance < exact) return distance;
    const double share = log((double)distance / (double)exact) / log((double)max_distance / (double)exact);
    /* powers of max_distance / E fall on whole numbers, which rounding must not miss */
    const double at = (double)exact + floor(share * (double)(side - exact) + 1e-9);
    return at < (double)(side - 1) ? (int64_t)at : side - 1;
}

/* The smallest distance whose bucket is `bucket` or beyond. */
static int64_t smallest(int64_t bucket, int64_t side, int64_t max_distance) {
    const int64_t exact = side / 2;
    if (bucket <= exact) return bucket;
    const double share = (double)(bucket - exact) / (double)(side - exact);
    int64_t n = (int64_t)((double)exact * pow((double)max_distance / (double)exact, share));
    while (n > exact && fv__t5_bucket_formula(n - 1, side, max_distance) >= bucket) n--;
    while (fv__t5_bucket_formula(n, side, max_distance) < bucket) n++;
    return n;
}

fv_status fv__t5_buckets_make(fv__t5_buckets *b, const char *where, int64_t buckets, int64_t max_distance,
                              bool bidirectional) {
    const int64_t side = bidirectional ? buckets / 2 : buckets;
    if (buckets > FV_T5_MOST_BUCKETS || side < 2 || (bidirectional && buckets % 2))
        return fv__fail(FV_USAGE, "%s, buckets\n  expected %s, up to %d\n  found:   %lld", where,
                        bidirectional ? "an even number from 4, half of it for each direction" : "2 or more",
                        (int)FV_T5_MOST_BUCKETS, (long long)buckets);
    if (max_distance <= side / 2)
        return fv__fail(FV_USAGE,
                        "%s, max-distance\n  expected more than the %lld distances that have a bucket of their own\n"
                        "  found:   %lld",
                        where, (long long)(side / 2), (long long)max_distance);
    b->buckets = buckets, b->side = side, b->bidirectional = bidirectional;
    for (int64_t i = 0; i < side; i++) b->first[i] = smallest(i, side, max_distance);
    return FV_OK;
}

/* The last bucket of the side that begins at or before the distance. */
static int64_t bucket_of(const fv__t5_buckets *b, int64_t distance) {
    int64_t low = 0, high = b->side;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (b->first[middle] <= distance)
            low = middle;
        else
            high = middle;
    }
    return low;
}

int64_t fv__t5_bucket(const fv__t5_buckets *b, int64_t relative) {
    if (relative <= 0) return bucket_of(b, -relative);
    return b->bidirectional ? b->side + bucket_of(b, relative) : 0;
}

void fv__t5_bucket_run(const fv__t5_buckets *b, int64_t from, int64_t count, int64_t *bucket) {
    int64_t past = bucket_of(b, from < 0 ? -from : 0), future = bucket_of(b, from > 0 ? from : 0);
    for (int64_t n = 0; n < count; n++) {
        const int64_t at = from + n;
        while (past > 0 && b->first[past] > -at) past--;
        while (at > 0 && future + 1 < b->side && b->first[future + 1] <= at) future++;
        bucket[n] = at <= 0 ? past : b->bidirectional ? b->side + future : 0;
    }
}
