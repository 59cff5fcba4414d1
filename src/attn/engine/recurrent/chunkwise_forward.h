/* Forward of a recurrence by chunks, for the real type R. See chunkwise.h. */

static void T(forward_head)(void *context, int64_t task, int worker) {
    const T(job) *job = context;
    const int64_t heads = job->plan->heads, sequence = task / heads, head = task % heads;
    const T(walk) w = T(walk_of)(job, sequence, head);
    T(chunk) c = T(chunk_of)(job, worker);
    bool empty = !job->state.data;
    if (!empty) T(load_state)(job, &job->state, sequence, head, c.state);
    for (int64_t p = 0; p < w.rows; p += c.chunk) {
        T(load_chunk)(job, &w, &c, p);
        const R *state = empty ? NULL : c.state;
        T(chunk_values)(&c, state);
        T(chunk_read)(&c, state, T(at)(&job->out, w.sequence.batch, head, w.sequence.q_start + p), job->out.l);
        if (p + c.chunk < w.rows || job->state_out.data) T(chunk_write)(&c, c.state, empty), empty = false;
    }
    if (empty) c.simd->fill(c.state, 0, c.d * c.dv);
    T(save_state)(job, &job->state_out, sequence, head, c.state);
}

static void T(forward)(const fv__run *run, void *scratch) {
    T(job) job = T(job_of)(run, scratch, false);
    fv__parallel_for(run->plan->sequences * run->plan->heads, T(forward_head), &job);
}
