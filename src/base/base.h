/* base: what every layer stands on. Knows no tensors.
 * One point each to memory, threads, files, randomness and time; the fault points can be made to fail by a test. */
#ifndef FV_BASE_H
#define FV_BASE_H

#include "fovea/base.h"

#include <stdarg.h>

/* ---- status */

/* Records the message of this thread and returns `status`. Call it where the fault is found, and only there. */
fv_status fv__fail(fv_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Forwards a failure to the caller. */
#define FV_TRY(call)                          \
    do {                                      \
        fv_status status_ = (call);           \
        if (status_ != FV_OK) return status_; \
    } while (0)

void fv__log(fv_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- memory */

/* 64-byte aligned, zero-filled; NULL sets the message (return FV_NO_RESOURCES). A size of 0 gives a valid pointer. */
void *fv__alloc(size_t bytes);
void *fv__alloc_raw(size_t bytes);                /* not zero-filled: for what is written at once */
void *fv__alloc_array(size_t count, size_t size); /* checks count * size */
void *fv__realloc(void *pointer, size_t old_bytes,
                  size_t new_bytes); /* the old block stays valid on failure; new bytes are zero */
void fv__free(void *pointer);        /* NULL is fine */
char *fv__strdup(const char *text);

/* False on overflow. Use them for every size that comes from outside. */
static inline bool fv__mul_ok(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool fv__add_ok(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }

/* bytes = element * product(dim); false when a dim is negative, the product overflows (zero dims do not hide it), or
 * there are more axes than any array has: a rank may come from a caller. */
enum { FV_MOST_AXES = 6 };
bool fv__size_of(const int64_t *dim, int rank, size_t element, size_t *bytes);

/* Room for `need` items in a growing array: FV_GROW(&items, &capacity, need). Doubles; new items are zero. */
fv_status fv__grow(void **items, size_t *capacity, size_t need, size_t item_size);
#define FV_GROW(items, capacity, need) fv__grow((void **)(items), (capacity), (need), sizeof **(items))

/* An arena hands out 64-byte aligned zeroed blocks that live until the reset; a reset keeps its memory, so a loop
 * that asks for the same sizes every time allocates only in its first round. */
typedef struct fv__arena fv__arena;
fv_status fv__arena_create(fv__arena **arena);
void *fv__arena_alloc(fv__arena *arena, size_t bytes); /* NULL sets the message */
void *fv__arena_raw(fv__arena *arena, size_t bytes);   /* the same, not zeroed */
void fv__arena_reset(fv__arena *arena);
size_t fv__arena_peak(const fv__arena *arena); /* bytes */
void fv__arena_free(fv__arena *arena);

/* Number of allocations since the start (tests assert that it stands still). */
int64_t fv__alloc_count(void);
int64_t fv__alloc_live(void); /* blocks not yet freed (tests assert that none is lost) */

/* ---- fault injection (tests): the n-th call from now through a point fails, once, or from then on when `persistent`;
 * n <= 0 switches it off. FOVEA_FAIL="alloc:17", "file:3+" (+ = persistent) does the same from outside. ---------- */
typedef enum fv__fault_point { FV_FAULT_ALLOC, FV_FAULT_FILE, FV_FAULT_POINTS } fv__fault_point;
void fv__inject(fv__fault_point point, int64_t nth, bool persistent);
bool fv__injected(fv__fault_point point); /* called by the fault points: must this call fail? */
int64_t fv__fault_point_calls(fv__fault_point point);
void fv__inject_pause(bool paused); /* this thread's calls do not fail meanwhile, nor count */

/* ---- text */

/* snprintf and vsnprintf, with a point in numbers whatever the locale of the host says. */
int fv__format(char *text, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
int fv__format_list(char *text, size_t size, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

/* A growing byte string, always NUL-terminated. After a failed append `failed` stays set: check once at the end. */
typedef struct fv__buf {
    char *data;
    size_t size, capacity;
    bool failed;
} fv__buf;
void fv__buf_add(fv__buf *buf, const void *bytes, size_t count);
void fv__buf_text(fv__buf *buf, const char *text);
void fv__buf_printf(fv__buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
fv_status fv__buf_status(const fv__buf *buf);
void fv__buf_free(fv__buf *buf);

/* A hash map from byte strings to int64. Keys are copied; order of insertion is the order of index. */
typedef struct fv__map fv__map;
fv_status fv__map_create(fv__map **map);
int64_t fv__map_get(const fv__map *map, const char *key, size_t length, int64_t missing);
fv_status fv__map_set(fv__map *map, const char *key, size_t length, int64_t value); /* adds or replaces */
fv_status fv__map_add(fv__map *map, const char *key, size_t length, int64_t delta); /* counts; missing is 0 */
size_t fv__map_size(const fv__map *map);
const char *fv__map_key(const fv__map *map, size_t index, size_t *length);
int64_t fv__map_value(const fv__map *map, size_t index);
void fv__map_free(fv__map *map);

uint64_t fv__hash(const void *bytes, size_t count,
                  uint64_t seed); /* stable over machines and versions; not cryptographic */
/* The nearest name of a NULL-terminated list within 1/3 of its length in edits, or NULL. */
const char *fv__nearest(const char *word, const char *const *names);
/* FV_USAGE: "unknown WHAT 'NAME'", the nearest of the names (ended by NULL) and all of them. A NULL name is empty. */
fv_status fv__unknown_name(const char *what, const char *name, const char *const *names);

/* Strict numbers: the whole text, no overflow, no NaN. */
bool fv__parse_int(const char *text, int64_t *value);
bool fv__parse_float(const char *text, double *value);
void fv__print_float(char text[32], double value); /* the shortest decimal text that reads back the same */

/* The number of bytes before the first one that is not UTF-8: `size` when all is well. */
size_t fv__utf8_valid(const void *text, size_t size);

/* Appends text that may come from a file to a line that may go to a terminal: control characters (below U+0020, DEL,
 * U+0080 to U+009F) are shown as \xNN. A backslash stays one. */
void fv__buf_shown(fv__buf *buf, const char *text, size_t size);

/* ---- threads */

/* Calls fn(context, index, worker) for index 0..count-1, each once, in any order. worker < fv_threads() names the
 * scratch to use. Cut the work by the problem, never by the number of workers. Nested calls run serially. */
typedef void fv__loop_fn(void *context, int64_t index, int worker);
void fv__parallel_for(int64_t count, fv__loop_fn *fn, void *context);

/* ---- randomness: counter-based Philox4x32-10 (Salmon et al., SC 2011) */
typedef struct fv__u32x4 {
    uint32_t v[4];
} fv__u32x4;
fv__u32x4 fv__philox(fv__u32x4 counter, uint32_t key0, uint32_t key1);
/* Numbers of a named stream: value `index` of (seed, stream) never depends on what was drawn before. */
uint32_t fv__random_u32(uint64_t seed, uint64_t stream, uint64_t index);
double fv__random_uniform(uint64_t seed, uint64_t stream, uint64_t index); /* [0,1), 53 bits */
double fv__random_normal(uint64_t seed, uint64_t stream, uint64_t index);
int64_t fv__random_below(uint64_t seed, uint64_t stream, uint64_t index, int64_t n);
void fv__random_shuffle(uint64_t seed, uint64_t stream, int64_t *items, int64_t count);

/* ---- cpu, clock */
typedef enum fv__isa { FV_ISA_SCALAR, FV_ISA_AVX2, FV_ISA_AVX512, FV_ISA_NEON, FV_ISAS } fv__isa;
fv__isa fv__cpu_isa(void);             /* best of this cpu, or FOVEA_ISA; decided once */
bool fv__cpu_isa_set(fv__isa isa);     /* from now on; FV_ISAS: decide again. False when this cpu has not got it */
const char *fv__isa_name(fv__isa isa); /* "scalar" ...; NULL from FV_ISAS on */
double fv__now(void);                  /* monotonic seconds */

/* A struct that was filled by hand has not been through fv_options_set: holds the field of one row against it. */
fv_status fv__option_check(const fv_option *row, const void *options);
/* Fields that are zero where zero is no value (a text that is NULL, a number out of its range) become the defaults;
 * then every field is held against its row. */
fv_status fv__options_complete(const fv_option *rows, void *options);

/* What the rows say of a struct, as bytes that are equal only for equal values: a key to find things by. Returns the
 * length; writes at most `size` bytes. */
size_t fv__options_key(const fv_option *rows, const void *options, void *key, size_t size);

/* ---- files */

/* A file in memory, as it was when it was read. Directories and unreadable files are FV_BAD_DATA with the reason. "-"
 * is not special here. The second form is for files of a model or a run: pipes and devices, which may never end, are
 * FV_BAD_DATA too. */
typedef struct fv__file {
    const unsigned char *data;
    size_t size;
} fv__file;
fv_status fv__file_read(fv__file *file, const char *path);
fv_status fv__file_read_regular(fv__file *file, const char *path);
void fv__file_free(fv__file *file);

/* Atomic writing: a temporary name beside `path`, fsync, rename, fsync of the folder. Until commit succeeds the old
 * file stays as it was. After a failure call fv__writer_abort, which removes the temporary file. */
typedef struct fv__writer {
    int fd;
    char *path, *temporary;
    uint64_t written;
    fv_status status;
} fv__writer;
fv_status fv__writer_open(fv__writer *writer, const char *path);
void fv__writer_add(fv__writer *writer, const void *bytes, size_t count); /* sticky failure */
fv_status fv__writer_commit(fv__writer *writer); /* reports any earlier failure; cleans up in every case */
void fv__writer_abort(fv__writer *writer);
fv_status fv__write_file(const char *path, const void *bytes, size_t count);
fv_status fv__append_line(const char *path, const char *line); /* with newline, for logs */
fv_status fv__make_dirs(const char *path);
bool fv__path_exists(const char *path);
bool fv__path_is_dir(const char *path);
bool fv__path_is_link(const char *path);
fv_status fv__path_join(char **out, const char *folder, const char *name); /* caller frees with fv__free */
/* FV_FAIL when there is something of this name that is no regular file: what a run writes must not lead out of its
 * folder. Lines are appended, and locks written, to files that have no other name. */
fv_status fv__check_own_file(const char *path);
/* Refuses a second process: creates and locks FILE, and its folder, whose lock stays when the file is removed (flock).
 * The lock ends with the process or fv__unlock. */
typedef struct fv__lock_held {
    int file, folder; /* descriptors, -1: none */
} fv__lock_held;
fv_status fv__lock(fv__lock_held *lock, const char *path);
void fv__unlock(fv__lock_held *lock);

#endif
