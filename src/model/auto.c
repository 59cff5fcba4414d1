/* auto: a blend of count-based and attention models. What its members are and how much each counts is searched for
 * by src/train/search.c; predicting, saving and explaining are those of every blend. */
#include "model/blend.h"

static const fv_option options[] = {
    FV__FLAGGED_ROW("budget", FV_OPT_STRING, budget, "60s", 0, 0, "TIME",
                    "time for the search on a slow machine: 90s, 5m, 1h", FV_OPTION_LOCAL),
    {0},
};

const fv__kind fv__kind_auto = {
    .info = {"auto", "count-based and attention models, blended as held-out texts say",
             "Wolpert, \"Stacked Generalization\", Neural Networks 1992", FV_MODEL_FITS_CLASSES | FV_MODEL_BLENDS,
             options},
    .blends = true,
};
