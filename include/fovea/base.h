/* fovea/base.h - status, messages, threads, logging. Included by every other header.
 *
 * Every function that can fail returns an fv_status; FV_OK is zero. The sentence that explains a failure is
 * kept per thread and read with fv_message(): it says what, where, found against expected, and one next step.
 * The library never prints, exits or aborts.
 *
 *     fv_set_threads(4);                                            // 0: the cores, or FOVEA_THREADS
 *     fv_status status = fv_set_isa("scalar");
 *     if (status != FV_OK) fprintf(stderr, "%s: %s\n", fv_status_name(status), fv_message());
 */
#ifndef FOVEA_BASE_H
#define FOVEA_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FV_VERSION "0.1.0"

#if defined(__GNUC__)
#define FV_API __attribute__((visibility("default")))
#else
#define FV_API
#endif

/* The numbers are also the exit codes of the command `fovea`. */
typedef enum fv_status {
    FV_OK = 0,
    FV_FAIL = 1,         /* failed while running */
    FV_USAGE = 2,        /* an argument, flag or option is wrong */
    FV_BAD_DATA = 3,     /* input data is missing or malformed */
    FV_BAD_MODEL = 4,    /* a model file is missing, malformed or not supported */
    FV_NO_RESOURCES = 5, /* out of memory or disk space */
    FV_DIVERGED = 6,     /* training produced NaN or Inf */
    FV_BELOW_TARGET = 7, /* a metric is below the asked threshold */
    FV_INTERRUPTED = 130 /* fv_interrupt() was called; state is saved */
} fv_status;

/* The calling thread's last failure as UTF-8 text, "" if there was none. Valid until the thread's next failure. */
FV_API const char *fv_message(void);

/* A short name of a status: "ok", "bad data", ... Static. */
FV_API const char *fv_status_name(fv_status status);

/* Version of the library at run time, as in FV_VERSION. */
FV_API const char *fv_version(void);

/* Threads used by every later call; 0 chooses the number of cores (or FOVEA_THREADS). Results never depend on it. */
FV_API void fv_set_threads(int threads);
FV_API int fv_threads(void);

/* Instruction set of the kernels in use: "scalar", "avx2", "avx512", "neon". FOVEA_ISA forces one; fv_set_isa
 * chooses another while nothing runs, NULL the first choice again. FV_USAGE when there is no such set or this
 * machine has not got it. */
FV_API const char *fv_isa(void);
FV_API fv_status fv_set_isa(const char *name);

/* Log lines (without newline) go to this function; by default nowhere. Set it before other threads use the library. */
typedef enum fv_log_level { FV_LOG_ERROR, FV_LOG_WARN, FV_LOG_INFO, FV_LOG_DEBUG } fv_log_level;
typedef void fv_log_fn(void *context, fv_log_level level, const char *line);
FV_API void fv_set_log(fv_log_fn *fn, void *context);

/* Asks long calls (training, data preparation) to save their state and return FV_INTERRUPTED. Async-signal-safe. */
FV_API void fv_interrupt(void);
FV_API bool fv_interrupted(void);
FV_API void fv_interrupt_clear(void);

/* Which keys a query sees by distance. All zeros: no window. Set it by FV_WINDOW: left and right without `limited` are
 * FV_USAGE, so that a forgotten one shows. */
typedef struct fv_window {
    bool limited;
    int64_t left, right; /* keys visible to the left of a query besides itself, and to its right; -1: no limit */
} fv_window;
#define FV_WINDOW(left, right) ((fv_window){true, left, right})

/* One row of a table of options: the same rows give struct defaults, parsing, range checks, --help, the man page
 * and the saved configuration. */
typedef enum fv_option_type {
    FV_OPT_BOOL,
    FV_OPT_NOT, /* a bool whose field says the opposite: "bias" is true while no_bias is false */
    FV_OPT_INT,
    FV_OPT_FLOAT,
    FV_OPT_STRING,
    FV_OPT_CHOICE,
    FV_OPT_WINDOW_LEFT, /* one side of an fv_window, as a number: -1 is no limit */
    FV_OPT_WINDOW_RIGHT,
    FV_OPT_ENUM, /* an enum that counts from 0, as one of the words of `choices` */
    /* the rows of `group` describe a struct of `max` bytes; `name` stands before their names, "" for none */
    FV_OPT_GROUP
} fv_option_type;
typedef struct fv_option {
    const char *name;     /* long name with dashes: "batch-size" */
    fv_option_type type;  /* fields: bool (and NOT), int64_t, double, const char * (and CHOICE), fv_window, enum */
    size_t offset;        /* offsetof the field in its options struct */
    const char *standard; /* default as text, NULL for none */
    double min, max;      /* inclusive range of numbers; ignored otherwise */
    const char *choices;  /* CHOICE, ENUM: "mean|max|cls|attention"; a hint such as "FILE" otherwise, may be NULL */
    const char *help;     /* one line, lower case, no full stop */
    const struct fv_option *(*group)(void); /* GROUP: gives another table, ended by a NULL name */
    uint32_t flags;                         /* FV_OPTION_... */
} fv_option;
enum {                           /* what becomes of an option after the training it was given to */
       FV_OPTION_LOCAL = 1,      /* of this run, no property of the model: not in the model's config.json */
       FV_OPTION_FIXED = 2,      /* a resumed run may not change it: other batches, another network */
       FV_OPTION_HARMLESS = 4,   /* a resumed run may change it and stays the unbroken run */
       FV_OPTION_BY_GRADIENT = 8 /* only kinds of models that learn by gradients read it */
};

/* All rows of a table, those of its GROUP rows in their place, with name and offset as seen from the whole struct:
 *     for (fv_option_walk walk = fv_option_walk_of(rows); fv_option_next(&walk);) ... walk.row.name ...
 * A row of the table itself hides one of the same name that a GROUP would bring. Names last until the next step. */
enum { FV_OPTION_DEPTH = 4 };
typedef struct fv_option_walk {
    fv_option row;
    const fv_option *rows, *at[FV_OPTION_DEPTH];
    size_t offset[FV_OPTION_DEPTH], prefix[FV_OPTION_DEPTH];
    int depth;
    char name[64];
} fv_option_walk;
FV_API fv_option_walk fv_option_walk_of(const fv_option *rows);
FV_API bool fv_option_next(fv_option_walk *walk); /* false: there is no further row */

/* Fill `options` (a struct described by `rows`, terminated by a NULL name) with the defaults. */
FV_API void fv_options_init(const fv_option *rows, void *options);

/* Set one option from text. Strings are kept by pointer: `value` must outlive `options`.
 * FV_USAGE: unknown name (the message suggests the nearest), malformed or out of range value. */
FV_API fv_status fv_options_set(const fv_option *rows, void *options, const char *name, const char *value);

/* The row an option's name means: its own name, '_' for '-', or another name it has; NULL: none. Earlier names of an
 * option and those of other tools stay valid wherever options are read: "learn-rate" and "lr" are "learning-rate".
 * The second form also finds what a GROUP row includes, as walk->row; false: none. */
FV_API const fv_option *fv_option_find(const fv_option *rows, const char *name);
FV_API bool fv_option_walk_find(fv_option_walk *walk, const fv_option *rows, const char *name);

/* The other names of an option, from index 0; NULL at the end. The second: only those it had in earlier versions. */
FV_API const char *fv_option_alias(const char *name, size_t index);
FV_API const char *fv_option_earlier_name(const char *name, size_t index);

/* The names nearest to a misspelt word, best first: within a third of its length in edits, or names that it begins.
 * Returns how many, at most three. */
FV_API int fv_nearest_names(const char *word, const char *const *names, size_t count, const char *nearest[3]);

/* The value of a row as text, as fv_options_set would read it back. Returns the length; writes at most `size` bytes. */
FV_API size_t fv_options_print(const fv_option *row, const void *options, char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
