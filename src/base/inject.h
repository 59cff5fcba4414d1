/* base: faults that a test asks for. */
#ifndef FV_BASE_INJECT_H
#define FV_BASE_INJECT_H

#include "fovea/base.h"

/* The n-th call from now through a point fails, once, or from then on when `persistent`;
 * n <= 0 switches it off. FOVEA_FAIL="alloc:17", "file:3+" (+ = persistent) does the same from outside. */
typedef enum fv__fault_point { FV_FAULT_ALLOC, FV_FAULT_FILE, FV_FAULT_POINTS } fv__fault_point;
void fv__inject(fv__fault_point point, int64_t nth, bool persistent);
bool fv__injected(fv__fault_point point); /* called by the fault points: must this call fail? */
int64_t fv__fault_point_calls(fv__fault_point point);
void fv__inject_pause(bool paused); /* this thread's calls do not fail meanwhile, nor count */

#endif
