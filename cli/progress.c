/* The progress line: one line that is redrawn on a terminal, plain lines or JSON lines elsewhere. See console.h. */
#include "console.h"
#include "flags.h"

#include <string.h>

static bool drawn;
static double last_drawn = -1;

static bool is(const char *kind) { return cli_global.progress && strcmp(cli_global.progress, kind) == 0; }
static bool silent(void) { return cli_global.quiet || is("none"); }
static bool draws(void) { return is("bar") || (!is("plain") && !is("json") && cli_is_terminal(stderr)); }
bool cli_progress_wants_json(void) { return is("json") && !silent(); }

/* Bytes of `text` that fill at most `columns`; one character a column is exact for what fovea writes here. */
static size_t fitting(const char *text, int columns) {
    size_t bytes = 0;
    for (; text[bytes]; bytes++) {
        if (((unsigned char)text[bytes] & 0xc0) == 0x80) continue;
        if (columns-- == 0) break;
    }
    return bytes;
}

int cli_progress_room(void) { return draws() ? cli_width(stderr) - 1 : 1 << 20; }

void cli_progress(const char *text, bool due) {
    if (silent() || is("json")) return;
    if (!draws()) {
        if (due) fprintf(stderr, "%s\n", text);
        return;
    }
    double now = cli_now();
    if (last_drawn >= 0 && now - last_drawn < 0.1) return;
    last_drawn = now;
    drawn = true;
    fprintf(stderr, "\r%.*s\033[K", (int)fitting(text, cli_progress_room()), text);
    fflush(stderr);
}

void cli_progress_json(const char *object, bool due) {
    if (due && cli_progress_wants_json()) fprintf(stderr, "%s\n", object);
}

void cli_progress_end(void) {
    if (drawn) fprintf(stderr, "\r\033[K");
    drawn = false;
}
