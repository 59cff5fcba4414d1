/* Node tests of the ONNX standard, run through the public interface: what the operators' files share.
 * A test is a .safetensors file written by samples.py; its metadata says which operator, with which attributes. */
#ifndef CONFORM_H
#define CONFORM_H

#include "fovea/fovea.h"

typedef struct sample {
    fv_tensor_file *file;
    const char *name, *op;
    int edition; /* of the standard's text: 123 is onnx 1.23 */
    double rtol, atol;
    char reason[512]; /* why it failed, "" while it has not */
} sample;

/* ---- reading a sample */

/* Input number `index` of the operator, by its place; rank 0 where it is left out. */
fv_tensor sample_input(const sample *s, int index);
bool sample_has_output(const sample *s, int index);

/* Attributes. Integers above the signed range are negative ones that were written as unsigned. */
bool sample_has(const sample *s, const char *name);
int64_t sample_int(const sample *s, const char *name, int64_t missing);
double sample_number(const sample *s, const char *name, double missing);
bool sample_says(const sample *s, const char *name, const char *text); /* the attribute is this text */

/* ---- working on it */

/* Zeroed memory that lives until the sample is done. */
fv_tensor sample_new(fv_dtype dtype, int rank, const int64_t *dim);
/* t itself, or a copy in a type that is computed in: f64 for f64, else f32. */
fv_tensor sample_real(fv_tensor t);
/* t seen with ones in front until it has this rank, and repeated to the wanted shape (strides 0). */
fv_tensor sample_padded(fv_tensor t, int rank);
fv_tensor sample_broadcast(fv_tensor t, int rank, const int64_t *dim);

/* Output number `index` against the expected one; notes the first difference. Outputs that are left out agree. */
void sample_compare(sample *s, int index, const fv_tensor *found);
/* Notes a failure; a status with its message. */
void sample_fail(sample *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool sample_try(sample *s, fv_status status);

/* ---- the operators */

typedef void run_operator(sample *s);
run_operator run_attention, run_rotary_embedding, run_layer_normalization, run_rms_normalization, run_gelu;

#endif
