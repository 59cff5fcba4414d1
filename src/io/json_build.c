/* JSON: building values, and jansson's memory. See json.h. */
#include "io/json.h"
#include "io/json_memory.h"

#include <jansson.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

static _Thread_local bool memory_failed;

static void *allocate(size_t bytes) {
    void *pointer = fv__alloc_small(bytes);
    if (!pointer) memory_failed = true;
    return pointer;
}

void fv__json_memory_begin(void) {
    static atomic_bool set;
    if (!atomic_exchange(&set, true)) json_set_alloc_funcs(allocate, fv__free);
    memory_failed = false;
}

bool fv__json_memory_failed(void) { return memory_failed; }

fv__json *fv__json_object(void) {
    fv__json_memory_begin();
    return json_object();
}

fv__json *fv__json_array(void) {
    fv__json_memory_begin();
    return json_array();
}

fv__json *fv__json_of_int(int64_t value) {
    fv__json_memory_begin();
    return json_integer(value);
}

fv__json *fv__json_of_float(double value) {
    fv__json_memory_begin();
    return isfinite(value) ? json_real(value) : json_null();
}

fv__json *fv__json_of_bool(bool value) { return json_boolean(value); }

fv__json *fv__json_of_bytes(const char *text, size_t size) {
    fv__json_memory_begin();
    fv__json *value = json_stringn(text, size);
    if (!value && !memory_failed)
        fv__fail(FV_BAD_DATA, "a text for JSON is not UTF-8: \"%.*s\"", (int)(size < 64 ? size : 64), text);
    return value;
}

fv__json *fv__json_of_text(const char *text) { return fv__json_of_bytes(text, strlen(text)); }

/* A NULL value keeps the message and the cause of the maker that returned it. */
static fv_status added(bool done, const fv__json *value) {
    if (done) return FV_OK;
    if (memory_failed) return FV_NO_RESOURCES;
    return value ? fv__fail(FV_BAD_DATA, "a key for JSON is not UTF-8, or its object does not exist") : FV_BAD_DATA;
}

fv_status fv__json_set(fv__json *object, const char *key, fv__json *value) {
    bool done = json_object_set_new(object, key, value) == 0;
    return added(done, value);
}

fv_status fv__json_push(fv__json *array, fv__json *value) {
    bool done = json_array_append_new(array, value) == 0;
    return added(done, value);
}
