/* base: what every layer stands on. Knows no tensors. One header for each subject; this one is all of them.
 * One point each to memory, threads, files, randomness and time; the fault points can be made to fail by a test. */
#ifndef FV_BASE_H
#define FV_BASE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/inject.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/names.h"
#include "base/options_check.h"
#include "base/parallel.h"
#include "base/parse.h"
#include "base/rng.h"
#include "base/status.h"
#include "base/utf8.h"
#include "base/writer.h"

#endif
