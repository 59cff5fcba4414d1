/* stats: what kind of head is it? A few means over the rows of one attention matrix, in double precision. */
#include "explain/explain.h"

#include <math.h>

typedef struct row_stats {
    double sum, plogp, visible, special, distance, max;
} row_stats;

static row_stats measure(const float *row, int64_t query, int64_t keys, const bool *special) {
    row_stats r = {0};
    for (int64_t j = 0; j < keys; j++) {
        double p = row[j];
        if (p <= 0) continue;
        r.sum += p;
        r.plogp += p * log(p);
        r.visible++;
        r.distance += p * fabs((double)(query - j));
        if (special && special[j]) r.special += p;
        if (p > r.max) r.max = p;
    }
    return r;
}

/* Rows of gates and linear attention do not sum to one: the entropy is that of the row scaled to one. */
static double entropy_nats(const row_stats *r) {
    double h = log(r->sum) - r->plogp / r->sum;
    return h > 0 ? h : 0;
}

static double mean(double sum, double rows) { return rows > 0 ? sum / rows : 0; }

void fv_head_statistics(fv_head_stats *stats, const float *weight, int64_t queries, int64_t keys, const bool *special) {
    fv_head_stats s = {0};
    double rows = 0, with_own = 0, with_previous = 0, with_next = 0;
    for (int64_t i = 0; i < queries; i++) {
        const float *row = weight + i * keys;
        row_stats r = measure(row, i, keys, special);
        if (r.visible == 0) continue;
        double h = entropy_nats(&r);
        rows++;
        s.entropy_bits += h / log(2);
        if (r.visible > 1) s.entropy += fmin(h / log(r.visible), 1);
        s.first += row[0];
        s.special += r.special;
        s.distance += r.distance;
        s.max += r.max;
        if (i < keys) s.diagonal += row[i], with_own++;
        if (i >= 1 && i - 1 < keys) s.previous += row[i - 1], with_previous++;
        if (i + 1 < keys) s.next += row[i + 1], with_next++;
    }
    *stats = (fv_head_stats){mean(s.entropy, rows),           mean(s.entropy_bits, rows), mean(s.diagonal, with_own),
                             mean(s.previous, with_previous), mean(s.next, with_next),    mean(s.first, rows),
                             mean(s.special, rows),           mean(s.distance, rows),     mean(s.max, rows)};
}
