/* Fault injection: each point counts its calls here and asks whether this one must fail.
 * Tests walk n = 1, 2, 3 ... through every call of an operation; FOVEA_FAIL does it for a whole process. */
#include "base/inject.h"

#include "base/base.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static struct {
    atomic_int_least64_t calls;
    atomic_int_least64_t left; /* calls until the failing one; 0 = never */
    atomic_bool persistent, failing;
} fault_points[FV_FAULT_POINTS];

static const char *const point_names[FV_FAULT_POINTS] = {"alloc", "file"};

void fv__inject(fv__fault_point point, int64_t nth, bool persistent) {
    atomic_store(&fault_points[point].failing, false);
    atomic_store(&fault_points[point].persistent, persistent);
    atomic_store(&fault_points[point].left, nth > 0 ? nth : 0);
}

static _Thread_local bool resting;
void fv__inject_pause(bool paused) { resting = paused; }

bool fv__injected(fv__fault_point point) {
    if (resting) return false;
    atomic_fetch_add_explicit(&fault_points[point].calls, 1, memory_order_relaxed);
    if (atomic_load_explicit(&fault_points[point].failing, memory_order_relaxed)) return true;
    if (atomic_load_explicit(&fault_points[point].left, memory_order_relaxed) <= 0) return false;
    if (atomic_fetch_sub(&fault_points[point].left, 1) != 1) return false;
    if (atomic_load(&fault_points[point].persistent)) atomic_store(&fault_points[point].failing, true);
    return true;
}

int64_t fv__fault_point_calls(fv__fault_point point) { return atomic_load(&fault_points[point].calls); }

/* One rule such as "alloc:17" or "file:3+". Anything else is ignored: this is a switch for tests. */
static void apply_rule(const char *rule, size_t length) {
    char text[64];
    if (length >= sizeof text) return;
    memcpy(text, rule, length);
    text[length] = '\0';
    char *colon = strchr(text, ':');
    if (!colon) return;
    *colon = '\0';
    char *number = colon + 1;
    size_t digits = strlen(number);
    bool persistent = digits > 0 && number[digits - 1] == '+';
    if (persistent) number[digits - 1] = '\0';
    int64_t nth;
    if (!fv__parse_int(number, &nth)) return;
    for (int d = 0; d < FV_FAULT_POINTS; d++)
        if (!strcmp(text, point_names[d])) fv__inject((fv__fault_point)d, nth, persistent);
}

/* Runs before main, so that no point has been used yet and no thread can race. */
__attribute__((constructor)) static void read_environment(void) {
    const char *rules = getenv("FOVEA_FAIL");
    while (rules && *rules) {
        size_t length = strcspn(rules, ",");
        apply_rule(rules, length);
        rules += length + (rules[length] == ',');
    }
}
