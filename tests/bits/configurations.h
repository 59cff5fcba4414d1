/* The configurations of tests/bits/record, as names. What a key means stands where record.c reads it; without a key
 * there are 2 sequences, 2 heads, 67 queries, 131 keys and widths of 32. */
#ifndef FV_TESTS_BITS_CONFIGURATIONS_H
#define FV_TESTS_BITS_CONFIGURATIONS_H

typedef void walker(const char *name);

/* What a mechanism does not take. */
enum {
    NO_SCORES = 1,
    NO_BANDS = 2,
    NO_DROPOUT = 4,
    NO_BLOCKS = 8,
    NO_MASK = 16,
    NO_PREFIX = 32,
    NO_KEYS = 64,
    NO_SIGN = 128
};

static const struct {
    const char *name;
    int without;
} mechanisms[] = {
    {"softmax", 0},
    {"window:left=20,right=9", 0},
    {"additive", 0},
    {"topk:k=5", NO_SCORES | NO_DROPOUT | NO_BLOCKS | NO_SIGN},
    {"linear", NO_SCORES | NO_DROPOUT | NO_BLOCKS | NO_MASK | NO_PREFIX | NO_SIGN},
    {"se:reduction=4", NO_KEYS},
    {"pixel-gate", NO_KEYS},
};
enum { MECHANISMS = sizeof mechanisms / sizeof *mechanisms };

static const char *const types[] = {"f32", "f64", "bf16", "f16"};

/* Every plug alone, for every mechanism that takes it, in every type. */
static const struct {
    const char *keys;
    int needs; /* what the mechanism must not be without */
} features[] = {
    {"dlse", 0},
    {"nolse/grads=", 0},
    {"grads=dq", 0},
    {"grads=dk,dv", 0},
    {"scale=0.3", 0},
    {"scale=-0.7/dlse", NO_SIGN},
    {"h=4/kv=2/v=48/dlse", 0},
    {"h=3/kv=1/d=17/v=5/layout=gaps", 0},
    {"layout=blhd/h=4/kv=2", 0},
    {"cu=5/b=1/q=150/k=150/dlse", 0},
    {"cu=3/cuk/b=1/q=90/k=140", 0},
    {"kv_len", 0},
    {"kv_len/i64/causal=lr", NO_BANDS},
    {"causal=ul", NO_BANDS},
    {"causal=lr/dlse", NO_BANDS},
    {"causal=ul/q_offset=40", NO_BANDS},
    {"causal=ul/q_offset=-5", NO_BANDS},
    {"causal=lr/cu=4/b=1/q=130/k=130", NO_BANDS},
    {"left=9/right=70", NO_BANDS | NO_SCORES},
    {"left=16/causal=lr", NO_BANDS | NO_SCORES},
    {"prefix/causal=ul", NO_PREFIX},
    {"prefix/causal=lr/cu=3/b=1/q=131/i64", NO_PREFIX},
    {"keep=bhqk", NO_MASK},
    {"drop=11qk/u8/causal=ul", NO_MASK},
    {"keep=b11k", NO_MASK},
    {"softcap=2.5", NO_SCORES},
    {"bias=bhqk", NO_SCORES},
    {"bias=1hqk/mixed/dlse", NO_SCORES},
    {"bias=b11k/causal=lr", NO_SCORES},
    {"bias=11q1", NO_SCORES},
    {"bias=1h1k/layout=blhd", NO_SCORES},
    {"slopes", NO_SCORES},
    {"slopes/mixed/causal=lr/cu=3/b=1/q=131", NO_SCORES},
    {"sinks", NO_SCORES},
    {"sinks/mixed/softcap=1.5/dlse", NO_SCORES},
    {"dropout=0.2/seed=7", NO_DROPOUT},
    {"dropout=0.5/cu=4/b=1/q=131/causal=ul", NO_DROPOUT},
    {"blocks=documents/q=131", NO_BLOCKS},
    {"blocks=strided/q=200/k=200/dlse", NO_BLOCKS},
    {"blocks=each/h=2/dropout=0.1", NO_BLOCKS},
    {"blocks=tiles/q=300/k=300/causal=lr", NO_BLOCKS},
};
enum { FEATURES = sizeof features / sizeof *features };

static void walk_features(walker *walk) {
    char name[NAME];
    for (int m = 0; m < MECHANISMS; m++)
        for (int i = 0; i < FEATURES; i++)
            for (int t = 0; t < 4; t++) {
                if (mechanisms[m].without & (features[i].needs | NO_KEYS)) continue;
                const char *slow = strncmp(mechanisms[m].name, "additive", 8) == 0 ? "/d=7" : ""; /* a tanh each */
                snprintf(name, sizeof name, "%s/%s/%s%s", mechanisms[m].name, types[t], features[i].keys, slow);
                walk(name);
            }
}

/* Lengths across the borders of tiles, widths across those of vectors. */
static void walk_sizes(walker *walk) {
    static const int lengths[][2] = {{0, 5},   {5, 0},   {1, 1},   {1, 257},  {63, 64},
                                     {64, 65}, {65, 63}, {257, 1}, {257, 300}};
    static const int widths[][2] = {{1, 1},  {3, 2},   {8, 16},    {16, 33},  {64, 64},
                                    {65, 7}, {80, 96}, {128, 128}, {200, 129}};
    static const char *const causal[] = {"", "/causal=lr", "/causal=ul"};
    char name[NAME];
    for (int m = 0; m < 5; m++)
        for (int i = 0; i < 9; i++) {
            const char *type = types[(m + i) % 4], *band = causal[(m + i) % 3];
            snprintf(name, sizeof name, "%s/%s/q=%d/k=%d/d=40/dlse%s", mechanisms[m].name, type, lengths[i][0],
                     lengths[i][1], band);
            walk(name);
            snprintf(name, sizeof name, "%s/%s/d=%d/v=%d%s", mechanisms[m].name, type, widths[i][0],
                     m == 2 ? 24 : widths[i][1], band);
            walk(name);
        }
    for (int t = 0; t < 4; t++) {
        snprintf(name, sizeof name, "softmax/%s/b=1/h=2/kv=1/q=900/k=900/d=64/causal=lr", types[t]);
        walk(name);
        snprintf(name, sizeof name, "linear/%s/b=1/h=2/kv=1/q=901/k=901/causal=ul", types[t]);
        walk(name);
        snprintf(name, sizeof name, "window:left=64,right=0/%s/b=1/q=897/k=897/d=64/dropout=0.1", types[t]);
        walk(name);
    }
}

/* Parameters of mechanisms, and the gates, which have no keys. */
static void walk_mechanisms(walker *walk) {
    static const char *const more[] = {
        "topk:k=1",
        "topk:k=32",
        "topk:k=1000",
        "topk:k=8/q=300/k=300/causal=lr",
        "window:left=0,right=0",
        "window:left=-1,right=4",
        "window:left=64,right=64/q=300/k=300",
        "window:left=7,right=0/causal=lr",
        "linear:eps=0.01",
        "linear/causal=ul/q=257/k=257/d=64",
        "softmax/h=8/kv=1/q=33/k=300/d=64",
        "softmax/b=5/h=3/q=1/k=400/d=64",
        "softmax/scale=5/q=128/k=128",
        "softmax/q=257/k=257/d=64/dropout=0.3/bias=1hqk/slopes/sinks/softcap=3/causal=lr",
        "se:reduction=2",
        "se:reduction=16/d=64",
        "se:reduction=4/kv_len",
        "se:reduction=4/cu=5/b=1/q=300",
        "se:reduction=4/d=37/h=3/layout=blhd",
        "se:reduction=2/grads=dq/layout=gaps",
        "se:reduction=2/mixed/q=1",
        "pixel-gate",
        "pixel-gate/kv_len/i64",
        "pixel-gate/cu=5/b=1/q=300",
        "pixel-gate/d=37/h=3/layout=blhd",
        "pixel-gate/grads=dq/layout=gaps",
        "pixel-gate/mixed/q=1",
        "entmax",
        "entmax/causal=lr/h=4/kv=2/q=67/k=131/dlse",
        "entmax/cu=5/b=1/q=150/k=150/dlse",
        "entmax:alpha=2/kv_len",
        "eca",
        "eca:kernel=7/d=64/kv_len",
        "eca/cu=5/b=1/q=300"};
    char name[NAME];
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        for (int t = 0; t < 4; t++) {
            const int head = (int)strcspn(more[i], "/");
            snprintf(name, sizeof name, "%.*s/%s%s", head, more[i], types[t], more[i] + head);
            walk(name);
        }
}

/* ---- random ones: what the table above has no row for is how features meet */

typedef struct draw {
    uint64_t key, count;
    char name[NAME];
} draw;

static int64_t drawn(draw *d, int64_t n) { return random_below(d->key, d->count++, n); }
static bool chance(draw *d, int64_t percent) { return drawn(d, 100) < percent; }
static void add(draw *d, const char *keys, int64_t number) {
    const size_t size = strlen(d->name);
    snprintf(d->name + size, sizeof d->name - size, keys, (long long)number);
}
static void draw_plane(draw *d, const char *key) {
    static const char *const planes[] = {"bhqk", "1hqk", "b1qk", "11qk", "b11k", "1h1k", "111k", "bhq1", "11q1"};
    add(d, key, 0), add(d, planes[drawn(d, 9)], 0);
}

static void draw_sizes(draw *d, bool packed, bool square, bool narrow) {
    static const int lengths[] = {1, 7, 31, 33, 63, 64, 65, 100, 129, 192, 257},
                     widths[] = {1, 5, 8, 16, 17, 24, 32, 40, 64, 72};
    const int64_t kv = 1 + drawn(d, 2), q = lengths[drawn(d, packed ? 4 : 11) + (packed ? 7 : 0)],
                  k = square ? q : lengths[drawn(d, packed ? 4 : 11) + (packed ? 7 : 0)];
    add(d, "/b=%lld", packed ? 1 : 1 + drawn(d, 3)), add(d, "/kv=%lld", kv), add(d, "/h=%lld", kv * (1 + drawn(d, 3)));
    add(d, "/q=%lld", q), add(d, "/k=%lld", k), add(d, "/d=%lld", widths[drawn(d, narrow ? 3 : 10)]);
    if (chance(d, 50)) add(d, "/v=%lld", widths[drawn(d, 10)]);
    if (packed) add(d, "/cu=%lld", 1 + drawn(d, 6));
    if (packed && !square) add(d, "/cuk", 0);
    if (chance(d, 40)) add(d, chance(d, 50) ? "/layout=blhd" : "/layout=gaps", 0);
}

static void draw_features(draw *d, int without, bool packed) {
    if (chance(d, 30)) add(d, "/scale=0.%lld", 1 + drawn(d, 9));
    if (!(without & NO_BANDS) && chance(d, 45)) add(d, chance(d, 50) ? "/causal=ul" : "/causal=lr", 0);
    if (!(without & NO_SCORES)) {
        if (chance(d, 15)) add(d, "/q_offset=%lld", drawn(d, 60) - 20);
        if (chance(d, 25)) add(d, "/left=%lld", drawn(d, 70));
        if (chance(d, 15)) add(d, "/right=%lld", drawn(d, 70));
        if (chance(d, 20)) add(d, "/softcap=%lld", 1 + drawn(d, 5));
        if (chance(d, 30)) draw_plane(d, "/bias=");
        if (chance(d, 20)) add(d, "/sinks", 0);
        if (chance(d, 20)) add(d, "/slopes", 0);
        if (chance(d, 30)) add(d, "/mixed", 0);
    }
    if (!(without & NO_DROPOUT) && chance(d, 25))
        add(d, "/dropout=0.%lld", 1 + drawn(d, 6)), add(d, "/seed=%lld", drawn(d, 1000));
    if (!(without & NO_MASK) && chance(d, 20)) draw_plane(d, chance(d, 50) ? "/keep=" : "/drop=");
    if (!(without & NO_BLOCKS) && !packed && chance(d, 15)) add(d, chance(d, 50) ? "/blocks=each" : "/blocks=tiles", 0);
    if (!packed && chance(d, 20)) add(d, "/kv_len", 0);
    if (!(without & NO_PREFIX) && chance(d, 15)) add(d, "/prefix", 0);
    if (chance(d, 20)) add(d, "/i64", 0);
    if (chance(d, 50)) add(d, "/dlse", 0);
}

static void walk_random(walker *walk) {
    for (uint64_t i = 0; i < 200; i++) {
        draw d = {.key = 1000 * i};
        const int m = i % 2 ? 0 : (int)drawn(&d, 5);
        const bool packed = chance(&d, 25), square = chance(&d, 40);
        snprintf(d.name, sizeof d.name, "%s/%s", mechanisms[m].name, types[drawn(&d, 4)]);
        draw_sizes(&d, packed, square, m == 2);
        draw_features(&d, mechanisms[m].without, packed);
        walk(d.name);
    }
}

static void walk_decode(walker *walk) {
    static const char *const how[] = {"",
                                      "n=3/counts",
                                      "n=5/see_all",
                                      "h=8/kv=1",
                                      "h=6/kv=3/d=17/v=40",
                                      "d=128/v=128/softcap=2",
                                      "scale=0.2/sinks",
                                      "slopes/n=2",
                                      "left=70/n=2",
                                      "left=40/sinks/slopes/softcap=3/n=4/counts",
                                      "q16",
                                      "out16/n=20",
                                      "grow/b=3",
                                      "len=2700/room=3000/h=8/b=1/n=2",
                                      "n=40/h=8/len=150"};
    static const char *const kinds[] = {"contiguous", "paged", "ring/room=120/left=60"};
    char name[NAME];
    for (int kind = 0; kind < 3; kind++)
        for (size_t i = 0; i < sizeof how / sizeof *how; i++)
            for (int t = 0; t < 4; t++) {
                if (t == 1 || (kind == 2 && (strstr(how[i], "left") || strstr(how[i], "room"))))
                    continue; /* no cache of f64 */
                snprintf(name, sizeof name, "decode/%s/%s%s%s", kinds[kind], types[t], *how[i] ? "/" : "", how[i]);
                walk(name);
            }
}

static void walk_rotary(walker *walk) {
    static const char *const how[] = {"halves",
                                      "pairs",
                                      "halves/columns=20/layout=blhd",
                                      "pairs/columns=20/layout=gaps",
                                      "halves/linear/offset=70",
                                      "halves/ntk/base=500000",
                                      "pairs/yarn/magnitude",
                                      "halves/llama3/base=500000/position",
                                      "pairs/position/tables",
                                      "halves/tables/offset=9/d=128"};
    char name[NAME];
    for (size_t i = 0; i < sizeof how / sizeof *how; i++)
        for (int t = 0; t < 4; t++) {
            snprintf(name, sizeof name, "rotary/%s/%s", types[t], how[i]);
            walk(name);
        }
}

/* Scores with relative positions, patterns of keys, compositions, recurrences; decoding of what adds to scores. */
static void walk_later(walker *walk) {
    static const char *const more[] = {"t5",
                                       "t5:buckets=8,max-distance=20/causal=lr/dlse",
                                       "t5:buckets=12,max-distance=60,bidirectional=0/h=4/kv=2/bias=1hqk/softcap=2",
                                       "t5/cu=5/b=1/q=150/k=150/dropout=0.2/seed=7",
                                       "shaw",
                                       "shaw:max-distance=5/causal=lr/dlse/sinks",
                                       "shaw:max-distance=100/h=4/kv=2/softcap=2/d=40/v=24",
                                       "shaw/cu=5/b=1/q=150/k=150/slopes",
                                       "strided:stride=13",
                                       "strided:stride=40/q=300/k=300/causal=lr/dlse",
                                       "strided:stride=7/cu=5/b=1/q=150/k=150",
                                       "block-topk:k=2,block=16",
                                       "block-topk:k=1,block=64/q=300/k=300/causal=lr/dlse",
                                       "block-topk:k=1,block=20/cu=5/b=1/q=150/k=150/h=4/kv=2",
                                       "differential",
                                       "differential:lambda-init=0.3/causal=lr/h=4/kv=2/d=33/dlse",
                                       "differential/cu=5/b=1/q=150/k=150/bias=11q1/dropout=0.1",
                                       "entmax/q=200/k=200/causal=ul",
                                       "entmax:alpha=2",
                                       "entmax:alpha=2/causal=lr/cu=4/b=1/q=150/k=150/dlse",
                                       "eca:kernel=3/h=3/layout=blhd",
                                       "eca:kernel=5/mixed/q=1",
                                       "linear/state/causal=lr/k=67",
                                       "linear/state/causal=ul/q=300/k=300/h=4/kv=2/dlse",
                                       "linear/state/causal=ul/cu=5/b=1/q=150/k=150",
                                       "retention/weights",
                                       "retention:first=1,chunk=16/h=4/kv=2/v=48/state/q=150",
                                       "retention:phi=elu,chunk=32/kv_len/q=100",
                                       "retention/cu=5/b=1/q=150/state",
                                       "gla/weights",
                                       "gla/state/q=200/h=4/kv=2",
                                       "gla/per_token/state/q=130/v=17",
                                       "gla:phi=elu,chunk=32/kv_len/q=100",
                                       "gla:chunk=16/cu=5/b=1/q=150/state",
                                       "deltanet/weights",
                                       "deltanet/state/q=200/h=4/kv=2",
                                       "deltanet/decay/state/q=130/v=17",
                                       "deltanet/decay/per_token/cu=5/b=1/q=150",
                                       "deltanet:chunk=16/kv_len/q=100"};
    static const char *const decoded[] = {"t5:buckets=8,max-distance=40", "shaw:max-distance=9", "additive/d=24",
                                          "strided:stride=11", "window:left=50,right=0"};
    static const char *const kinds[] = {"contiguous", "paged/n=3/counts", "ring/room=120/left=60/n=2"};
    char name[NAME];
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        for (int t = 0; t < 4; t++) {
            const int head = (int)strcspn(more[i], "/");
            snprintf(name, sizeof name, "%.*s/%s%s", head, more[i], types[t], more[i] + head);
            walk(name);
        }
    for (size_t i = 0; i < sizeof decoded / sizeof *decoded; i++)
        for (int kind = 0; kind < 3; kind++)
            for (int t = 0; t < 4; t++) {
                if (t == 1) continue; /* no cache of f64 */
                snprintf(name, sizeof name, "decode/%s/%s/mechanism=%s", kinds[kind], types[t], decoded[i]);
                walk(name);
            }
}

static void walk_configurations(walker *walk) {
    walk_features(walk);
    walk_sizes(walk);
    walk_mechanisms(walk);
    walk_random(walk);
    walk_decode(walk);
    walk_rotary(walk);
    walk_later(walk);
}

#endif
