/* The rows of list.def. See score.h. */
#include "attn/score/score.h"

#define SCORE(name) extern const fv__score fv__score_##name;
#include "attn/score/list.def"
#undef SCORE

static const fv__score *const table[] = {
#define SCORE(name) &fv__score_##name,
#include "attn/score/list.def"
#undef SCORE
};

const fv__score *fv__score_at(fv__score_id id) { return table[id]; }

size_t fv__score_part_bytes(const fv__score *score, const fv_attention_plan *plan) {
    const size_t element = score->doubles || plan->dtype == FV_F64 ? sizeof(double) : sizeof(float);
    return score->parts ? (size_t)fv__attn_times(score->parts(plan), (int64_t)element) : 0;
}

int64_t fv__score_scratch(const fv_attention_plan *plan) {
    int64_t most = 0;
    for (int i = 0; i < FV_SCORES; i++) {
        const int64_t count = table[i]->scratch && table[i]->on(plan) ? table[i]->scratch(plan) : 0;
        if (count > most) most = count;
    }
    return most;
}

bool fv__score_any(const fv_attention_plan *plan, fv__score_kind kind) {
    for (int i = 0; i < FV_SCORES; i++)
        if (table[i]->kind == kind && table[i]->on(plan)) return true;
    return false;
}

int fv__score_list(const fv_attention_plan *plan, fv__score_kind kind, fv__score_use *list) {
    int count = 0;
    for (int i = 0; i < FV_SCORES; i++)
        if (table[i]->kind == kind && table[i]->on(plan))
            list[count++] = (fv__score_use){.score = table[i],
                                            .kernels = plan->dtype == FV_F64 ? &table[i]->f64 : &table[i]->f32,
                                            .part_bytes = fv__score_part_bytes(table[i], plan)};
    return count;
}
