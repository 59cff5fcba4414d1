/* The f32 product of oneDNN. dnnl_sgemm is part of its C interface in 2.x and 3.x alike; called on a worker of
 * fv__parallel_for it computes on that thread only.
 *
 * Its kernels are written when they are first needed. Without memory for that it throws, through an interface of C, and
 * the process ends. So before the first product of each kind, room for its kernels is asked for. */
#include "dense/dense.h"

#include <dnnl.h>
#include <stdatomic.h>
#include <sys/mman.h>

static bool has_room(void) {
    const size_t bytes = (size_t)32 << 20;
    void *room = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) return false;
    munmap(room, bytes);
    return true;
}

/* Products that may be different kernels: what is turned, what is added to, vectors, small sides. */
static unsigned kind_of(const fv__product *p) {
    return (unsigned)p->a_transposed | (unsigned)p->b_transposed << 1 | (unsigned)p->accumulate << 2 |
           (unsigned)(p->m == 1) << 3 | (unsigned)(p->n == 1) << 4;
}

static bool is_ready(const fv__product *p) {
    static atomic_uint ready; /* a bit for each kind */
    const unsigned bit = 1u << kind_of(p);
    if (atomic_load_explicit(&ready, memory_order_relaxed) & bit) return true;
    if (!has_room()) return false;
    atomic_fetch_or_explicit(&ready, bit, memory_order_relaxed);
    return true;
}

bool fv__sgemm(const fv__product *p, float *c, const float *a, const float *b) {
    return is_ready(p) && dnnl_sgemm(p->a_transposed ? 'T' : 'N', p->b_transposed ? 'T' : 'N', p->m, p->n, p->k, 1.0f,
                                     a, p->lda, b, p->ldb, p->accumulate ? 1.0f : 0.0f, c, p->ldc) == dnnl_success;
}
