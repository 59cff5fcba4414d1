/* fovea/fovea.h - everything: attention, autograd and layers, data, models, training, explanation. */
#ifndef FOVEA_FOVEA_H
#define FOVEA_FOVEA_H

#include "base.h"
#include "random.h"
#include "tensor.h"
#include "attention.h"
#include "rope.h"
#include "blocks.h"
#include "statistics.h"
#include "cache.h"
#include "grad.h"
#include "nn.h"
#include "files.h"
#include "optim.h"
#include "data.h"
#include "vectors.h"
#include "model.h"
#include "task.h"
#include "train.h"
#include "explain.h"

#endif
