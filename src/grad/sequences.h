/* Packed sequences as operations see them, and tables of angles for positions. */
#ifndef FV_GRAD_SEQUENCES_H
#define FV_GRAD_SEQUENCES_H

#include "grad/graph.h"

/* Checks s against the rows it must cover and copies it into the step; NULL is one sequence of all rows. False:
 * failed. */
bool fv__sequences_take(fv_graph *g, const char *where, const fv_sequences *s, int64_t rows, fv_sequences *out);
int64_t fv__sequences_longest(const fv_sequences *s);
/* Position of every row: its place in its sequence, after first[n]; first NULL: 0. `end` is one beyond the highest, 0
 * without rows. False: failed. */
typedef struct fv__positions {
    int32_t *row;
    int64_t end;
} fv__positions;
bool fv__positions_of(fv_graph *g, const char *where, const fv_sequences *s, const int64_t *first, fv__positions *out);

/* cos and sin of position * base^(-2i/width), [positions, (width+1)/2]; kept by the graph for later steps. Pointers
 * hold until a later call asks for more positions of the same kind. */
fv_status fv__angles_of(fv_graph *g, int64_t width, double base, int64_t positions, const double **cosine,
                        const double **sine);
/* The same numbers for these positions only, [rows, (width+1)/2], in the memory of the step. */
fv_status fv__angles_at(fv_graph *g, int64_t width, double base, const int32_t *position, int64_t rows,
                        const double **cosine, const double **sine);
void fv__angles_free(fv__angles *angles);

#endif
