/* Status: the message of the last failure, kept per thread, and the interrupt flag.
 * Messages may quote file names and data, so they are made printable UTF-8 here, once, for every caller. */
#include "base/status.h"

#include "base/base.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_SIZE = 4096 };

static _Thread_local char message[MESSAGE_SIZE];
static volatile sig_atomic_t interrupted;

/* U+0080 to U+009F: to some terminals the second of them is what ESC [ is. */
static bool is_late_control(const char *text, size_t left) {
    return left > 1 && (unsigned char)text[0] == 0xC2 && (unsigned char)text[1] < 0xA0;
}

/* Bytes that are not UTF-8, and control characters that could steer a terminal, become '?'. */
static void make_printable(char *text, size_t size) {
    size_t done = 0;
    while (done < size) {
        size_t bad = done + fv__utf8_valid(text + done, size - done);
        for (size_t i = done; i < bad; i++) {
            unsigned char c = (unsigned char)text[i];
            if ((c < 32 && c != '\n' && c != '\t') || c == 127) text[i] = '?';
            if (is_late_control(text + i, bad - i)) text[i] = text[i + 1] = '?';
        }
        if (bad < size) text[bad] = '?';
        done = bad + 1;
    }
}

/* A message cut off in the middle of a character loses that character. */
static size_t whole_characters(const char *text, size_t size) {
    size_t end = size;
    while (end > 0 && size - end < 4 && ((unsigned char)text[end - 1] & 0xC0) == 0x80) end--;
    if (end > 0 && (unsigned char)text[end - 1] >= 0xC0) end--;
    return end;
}

fv_status fv__fail(fv_status status, const char *format, ...) {
    char text[MESSAGE_SIZE]; /* not straight into `message`: an argument may be fv_message() itself */
    va_list arguments;
    va_start(arguments, format);
    int wanted = fv__format_list(text, sizeof text, format, arguments);
    va_end(arguments);
    size_t size = wanted < 0 ? 0 : (size_t)wanted;
    if (size >= sizeof text) size = whole_characters(text, sizeof text - 1);
    make_printable(text, size);
    text[size] = '\0';
    memcpy(message, text, size + 1);
    return status;
}

const char *fv_message(void) { return message; }

const char *fv_version(void) { return FV_VERSION; }

const char *fv_status_name(fv_status status) {
    switch (status) {
    case FV_OK: return "ok";
    case FV_FAIL: return "failed";
    case FV_USAGE: return "usage";
    case FV_BAD_DATA: return "bad data";
    case FV_BAD_MODEL: return "bad model";
    case FV_NO_RESOURCES: return "no resources";
    case FV_DIVERGED: return "diverged";
    case FV_BELOW_TARGET: return "below target";
    case FV_INTERRUPTED: return "interrupted";
    }
    return "unknown";
}

void fv_interrupt(void) { interrupted = 1; }

bool fv_interrupted(void) { return interrupted != 0; }

void fv_interrupt_clear(void) { interrupted = 0; }
