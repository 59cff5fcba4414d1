/* The engine for one type, and the table tile.c chooses it from. */
#include "attn/core/view.h"
#include "attn/core/tile_job.h"
#include "attn/core/tile_forward.h"
#include "attn/core/tile_backward.h"
#include "attn/core/tile_weights.h"
#include "attn/core/tile_survey.h"

const fv__tile_engine T(engine) = {T(forward), T(backward), T(weights), T(survey)};
