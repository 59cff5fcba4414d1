/* Packed sequences as operations see them, and tables of angles for positions. */
#include "grad/sequences.h"

#include "grad/graph.h"

#include <math.h>

bool fv__sequences_take(fv_graph *g, const char *where, const fv_sequences *s, int64_t rows, fv_sequences *out) {
    if (!s) {
        int32_t whole[2] = {0, (int32_t)rows};
        *out = (fv_sequences){1, fv__graph_copy(g, whole, 2, sizeof *whole)};
        return out->cu != NULL;
    }
    bool fine = s->count >= 0 && s->cu[0] == 0 && s->cu[s->count] == rows;
    int64_t bad = fine ? 0 : s->count > 0 ? s->count : 0;
    for (int64_t n = 0; n < s->count && fine; n++) fine = s->cu[n] <= s->cu[n + 1], bad = n + 1;
    if (!fine) {
        fv_graph_failed(g,
                        fv__fail(FV_USAGE,
                                 "%s: cu_seqlens do not fit\n  expected 0, never decreasing, at last %lld (the rows)\n"
                                 "  found:   %lld sequences, from %lld, number %lld at %lld",
                                 where, (long long)rows, (long long)s->count, (long long)s->cu[0], (long long)bad,
                                 (long long)s->cu[bad]));
        return false;
    }
    *out = (fv_sequences){s->count, fv__graph_copy(g, s->cu, (size_t)s->count + 1, sizeof *s->cu)};
    return out->cu != NULL;
}

static fv_status end_of(const char *where, const fv_sequences *s, const int64_t *first, fv__positions *out) {
    out->end = 0;
    for (int64_t n = 0; n < s->count; n++) {
        int64_t length = s->cu[n + 1] - s->cu[n], start = first ? first[n] : 0;
        if (length == 0) continue;
        if (start < 0 || start > INT32_MAX - length)
            return fv__fail(FV_USAGE,
                            "%s: the first position of sequence %lld is out of range\n  expected 0 to %lld\n"
                            "  found:   %lld",
                            where, (long long)n, (long long)(INT32_MAX - length), (long long)start);
        if (start + length > out->end) out->end = start + length;
    }
    return FV_OK;
}

bool fv__positions_of(fv_graph *g, const char *where, const fv_sequences *s, const int64_t *first, fv__positions *out) {
    fv_status status = end_of(where, s, first, out);
    if (status != FV_OK) fv_graph_failed(g, status);
    out->row = status == FV_OK ? fv__graph_memory(g, (size_t)s->cu[s->count], sizeof *out->row) : NULL;
    if (!out->row) return false;
    for (int64_t n = 0; n < s->count; n++)
        for (int32_t row = s->cu[n]; row < s->cu[n + 1]; row++)
            out->row[row] = row - s->cu[n] + (int32_t)(first ? first[n] : 0);
    return true;
}

/* ---- angles */

struct fv__angles {
    fv__angles *next;
    double base;
    int64_t pairs, positions;
    double *cosine, *sine; /* [positions, pairs] */
};

static fv__angles *entry_for(fv_graph *g, int64_t pairs, double base) {
    for (fv__angles *a = g->angles; a; a = a->next)
        if (a->pairs == pairs && a->base == base) return a;
    fv__angles *a = fv__alloc(sizeof *a);
    if (!a) return NULL;
    *a = (fv__angles){.next = g->angles, .base = base, .pairs = pairs};
    return g->angles = a;
}

static fv_status grow(fv__angles *a, int64_t width, int64_t positions) {
    int64_t room = a->positions * 2 > positions ? a->positions * 2 : positions;
    size_t count;
    if (!fv__mul_ok((size_t)room, (size_t)a->pairs, &count))
        return fv__fail(FV_NO_RESOURCES, "positions: sizes overflow");
    double *cosine = fv__alloc_array(count, sizeof *cosine), *sine = fv__alloc_array(count, sizeof *sine);
    if (!cosine || !sine) {
        fv__free(cosine);
        fv__free(sine);
        return FV_NO_RESOURCES;
    }
    for (int64_t i = 0; i < a->pairs; i++) {
        double frequency = pow(a->base, -2.0 * (double)i / (double)width);
        for (int64_t p = 0; p < room; p++) {
            cosine[p * a->pairs + i] = cos((double)p * frequency);
            sine[p * a->pairs + i] = sin((double)p * frequency);
        }
    }
    fv__free(a->cosine);
    fv__free(a->sine);
    a->cosine = cosine;
    a->sine = sine;
    a->positions = room;
    return FV_OK;
}

fv_status fv__angles_of(fv_graph *g, int64_t width, double base, int64_t positions, const double **cosine,
                        const double **sine) {
    fv__angles *a = entry_for(g, (width + 1) / 2, base);
    if (!a) return FV_NO_RESOURCES;
    if (positions > a->positions) FV_TRY(grow(a, width, positions));
    *cosine = a->cosine;
    *sine = a->sine;
    return FV_OK;
}

fv_status fv__angles_at(fv_graph *g, int64_t width, double base, const int32_t *position, int64_t rows,
                        const double **cosine, const double **sine) {
    int64_t pairs = (width + 1) / 2;
    double *c = fv__graph_memory(g, (size_t)rows, (size_t)pairs * sizeof *c);
    double *s = fv__graph_memory(g, (size_t)rows, (size_t)pairs * sizeof *s);
    if (!c || !s) return FV_NO_RESOURCES;
    for (int64_t i = 0; i < pairs; i++) {
        double frequency = pow(base, -2.0 * (double)i / (double)width);
        for (int64_t row = 0; row < rows; row++) {
            c[row * pairs + i] = cos((double)position[row] * frequency);
            s[row * pairs + i] = sin((double)position[row] * frequency);
        }
    }
    *cosine = c;
    *sine = s;
    return FV_OK;
}

void fv__angles_free(fv__angles *angles) {
    for (fv__angles *next; angles; angles = next) {
        next = angles->next;
        fv__free(angles->cosine);
        fv__free(angles->sine);
        fv__free(angles);
    }
}
