/* The tensors of `fovea attend`: found in files, seen as (batch, heads, length, head_dim), converted, and written
 * again. */
#ifndef CLI_ATTEND_H
#define CLI_ATTEND_H

#include "command.h"

#include "fovea/attention.h"
#include "fovea/files.h"
#include "fovea/statistics.h"

typedef enum attend_layout { ATTEND_BHLD, ATTEND_BLHD, ATTEND_BLD } attend_layout;

/* Everything `attend` can be given as a tensor: an operand by its number, then tensors only this command has. The name
 * is that of the tensor in a file, and with dashes that of the flag; NULL for what nobody gives. */
enum { ATTEND_OTHERS = 4, ATTEND_INPUTS = FV_OPERANDS + ATTEND_OTHERS };
const char *attend_name(int input);

typedef struct attend_options {
    const char *file[ATTEND_INPUTS]; /* .npy of each input */
    fv_attention_options how;
    fv_attention_call call;
    const char *in, *out, *name, *tensor, *layout, *weights, *rows, *head_list, *rope, *rope_scaling, *statistics,
        *pool;
    int64_t heads, kv_heads, rope_dim;
    double rope_base, rope_factor, rope_length;
    bool plan, statistics_dropout;
} attend_options;

/* attend_options.c: the flags; the rows of two groups are also asked for their defaults. */
size_t attend_groups(attend_options *o, cli_group *group);
extern const fv_option attend_rope_rows[], attend_output_rows[];

/* Files stay open while their tensors are read. */
fv_status attend_open(const attend_options *o);
void attend_close(void);
fv_status attend_find(const attend_options *o, const char *name, fv_tensor *tensor); /* rank 0: not given */

fv_status attend_nothing(const attend_options *o, const char *name); /* --in lacks it: says what it has */
/* Flags that would be left out silently: --tensor and --name of tensors that `known` does not know or --in does not
 * have. */
typedef bool attend_known(const void *context, const char *name, size_t size);
fv_status attend_check_names(const attend_options *o, attend_known *known, const void *context, const char *mechanism);

/* (batch, heads, length, head_dim) of a tensor in its layout; heads counts for BLD only. */
fv_status attend_view(const char *name, const fv_tensor *t, attend_layout layout, int64_t heads, fv_tensor *view);
fv_tensor attend_new(fv_dtype dtype, attend_layout layout,
                     const fv_tensor *logical);          /* same logical shape, own memory */
fv_tensor attend_as(const fv_tensor *t, fv_dtype dtype); /* itself, or a contiguous copy of that type */
fv_tensor attend_padded(const fv_tensor *t, int rank);   /* ones in front until it has that rank */
fv_tensor attend_joined(const fv_tensor *past, const fv_tensor *now, attend_layout layout, fv_dtype dtype);

/* Outputs are collected, converted to `dtype` and the layout of their source, and written together. */
void attend_put(const char *name, const fv_tensor *logical, attend_layout layout, fv_dtype dtype);
fv_status attend_write(const attend_options *o); /* to files, or a summary to stdout */

/* attend_statistics.c: its flags, before anything runs; the outputs they ask for, after a forward. */
fv_status attend_statistics_check(const attend_options *o);
fv_status attend_statistics(const attend_options *o, const fv_attention_plan *plan, const fv_attention_call *call,
                            const fv_attention_tensors *x, fv_dtype dtype);

/* "0,5-7" against `limit`; NULL: all. Freed with cli_free. */
fv_status attend_numbers(const char *flag, const char *text, int64_t limit, int64_t **number, int64_t *count);

#endif
