/* What goes to stderr and to the person: errors, log, colour, terminal width, signals, memory. See console.h. */
#include "console.h"
#include "flags.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static bool reported;
static volatile sig_atomic_t signal_seen;

/* ---- errors */

/* C1 controls are two bytes of UTF-8, of which the second counts. */
static bool is_late_control(const unsigned char *c) { return *c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0; }

char *cli_shown(const char *text) {
    size_t size = 4 * strlen(text) + 1;
    char *out = cli_alloc(size), *o = out;
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        const bool late = is_late_control(c);
        if (late) c++;
        if (late || (*c < 0x20 && *c != '\n' && *c != '\t') || *c == 0x7f)
            o += snprintf(o, size - (size_t)(o - out), "\\x%02x", *c);
        else
            *o++ = (char)*c;
    }
    *o = 0;
    return out;
}

static void print_shown(FILE *out, const char *text) {
    char *shown = cli_shown(text);
    for (const char *c = shown; *c; c++) *c == '\t' ? fputs("\\t", out) : fputc(*c, out);
    cli_free(shown);
}

static void print_line(const char *kind, const char *color, const char *text) {
    cli_progress_end();
    fprintf(stderr, "fovea: %s%s:%s ", cli_color(stderr, color), kind, cli_color(stderr, "0"));
    print_shown(stderr, text);
    fputc('\n', stderr);
}

static void print_format(const char *kind, const char *color, const char *format, va_list list) {
    char text[8192];
    vsnprintf(text, sizeof text, format, list);
    print_line(kind, color, text);
}

fv_status cli_fail(fv_status status, const char *format, ...) {
    va_list list;
    va_start(list, format);
    print_format("error", "1;31", format, list);
    va_end(list);
    reported = true;
    return status;
}

void cli_warn(const char *format, ...) {
    va_list list;
    va_start(list, format);
    print_format("warning", "1;33", format, list);
    va_end(list);
}

void cli_say(const char *format, ...) {
    if (cli_global.quiet) return;
    char text[8192];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    cli_progress_end();
    print_shown(stderr, text);
    fputc('\n', stderr);
}

void cli_report(fv_status status) {
    if (status == FV_OK || reported) return;
    const char *message = fv_message();
    bool stopped = status == FV_INTERRUPTED;
    if (stopped)
        print_line("interrupted", "1;33", *message ? message : "stopped on request");
    else
        print_line("error", "1;31", *message ? message : fv_status_name(status));
    reported = true;
}

void cli_reported(bool yes) { reported = yes; }

static void log_line(void *context, fv_log_level level, const char *line) {
    (void)context;
    if (level == FV_LOG_ERROR)
        print_line("error", "1;31", line);
    else if (level == FV_LOG_WARN)
        print_line("warning", "1;33", line);
    else if (level == FV_LOG_INFO)
        cli_say("%s", line);
    else if (cli_global.verbose > 0)
        cli_say("%s", line);
}

fv_status cli_console_setup(void) {
    fv_set_log(log_line, NULL);
    if (cli_global.threads > 0) fv_set_threads((int)cli_global.threads);
    return FV_OK;
}

/* ---- terminal */

bool cli_is_terminal(FILE *stream) { return isatty(fileno(stream)) == 1; }

int cli_width(FILE *stream) {
    struct winsize size;
    const char *columns = getenv("COLUMNS");
    if (columns && atoi(columns) > 0) return atoi(columns);
    if (cli_is_terminal(stream) && ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    return 80;
}

bool cli_use_color(FILE *stream) {
    const char *asked = cli_global.color ? cli_global.color : "auto";
    if (strcmp(asked, "always") == 0) return true;
    if (strcmp(asked, "never") == 0) return false;
    const char *off = getenv("NO_COLOR"), *term = getenv("TERM");
    if (off && *off) return false;
    return cli_is_terminal(stream) && term && *term && strcmp(term, "dumb") != 0;
}

const char *cli_color(FILE *stream, const char *code) {
    static char text[4][16];
    static unsigned turn;
    if (!cli_use_color(stream)) return "";
    char *out = text[turn++ % 4];
    snprintf(out, sizeof text[0], "\033[%sm", code);
    return out;
}

static double clock_of(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double cli_now(void) { return clock_of(CLOCK_MONOTONIC); }
double cli_cpu_now(void) { return clock_of(CLOCK_PROCESS_CPUTIME_ID); }

void cli_duration(double seconds, char *text, size_t size) {
    long whole = seconds > 0 && seconds < 1e9 ? (long)(seconds + 0.5) : 0;
    if (whole >= 3600)
        snprintf(text, size, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
    else
        snprintf(text, size, "%02ld:%02ld", whole / 60, whole % 60);
}

/* ---- signals */

/* The first signal asks for a clean end; the second does not wait for it. */
static void on_signal(int number) {
    if (signal_seen) _exit(128 + number);
    signal_seen = number;
    fv_interrupt();
}

void cli_signals(bool saves) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    if (!saves) return;
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct sigaction old; /* a closed terminal ends the run cleanly, too, unless nohup says that it goes on */
    if (sigaction(SIGHUP, NULL, &old) == 0 && old.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, NULL);
}

int cli_exit_code(fv_status status) {
    if (status == FV_INTERRUPTED && signal_seen) return 128 + signal_seen;
    return (int)status;
}

/* ---- memory */

static void *must(void *block) {
    if (block) return block;
    fprintf(stderr, "fovea: error: out of memory\n");
    exit(FV_NO_RESOURCES);
}

void *cli_alloc(size_t bytes) { return must(calloc(1, bytes ? bytes : 1)); }
void *cli_realloc(void *block, size_t bytes) { return must(realloc(block, bytes ? bytes : 1)); }
void cli_free(void *block) { free(block); }

char *cli_text(const char *format, ...) {
    va_list list;
    va_start(list, format);
    int size = vsnprintf(NULL, 0, format, list);
    va_end(list);
    char *text = cli_alloc((size_t)size + 1);
    va_start(list, format);
    vsnprintf(text, (size_t)size + 1, format, list);
    va_end(list);
    return text;
}

/* Values of flags must live as long as the structs that point to them: until the end. */
static struct kept {
    struct kept *next;
    void *block;
} * kept;
static void free_kept(void) {
    while (kept) {
        struct kept *next = kept->next;
        free(kept->block);
        free(kept);
        kept = next;
    }
}

void *cli_keep(void *block) {
    if (!kept) atexit(free_kept);
    struct kept *entry = cli_alloc(sizeof *entry);
    entry->next = kept;
    entry->block = block;
    kept = entry;
    return block;
}

/* ---- how the program was called */

static char *command_line;

/* Single quotes around what a shell would not read as one plain word. */
static char *quoted(const char *word) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-+=:/,@%";
    if (*word && strspn(word, plain) == strlen(word)) return cli_text("%s", word);
    char *out = cli_alloc(4 * strlen(word) + 3), *o = out;
    *o++ = '\'';
    for (; *word; word++) {
        if (*word == '\'')
            o += sprintf(o, "'\\''");
        else
            *o++ = *word;
    }
    *o = '\'';
    return out;
}

void cli_command_line(int argc, char **argv) {
    command_line = cli_text("fovea");
    for (int i = 1; i < argc; i++) {
        char *word = quoted(argv[i]), *longer = cli_text("%s %s", command_line, word);
        cli_free(command_line);
        cli_free(word);
        command_line = longer;
    }
    cli_keep(command_line);
}

const char *cli_command_line_text(void) { return command_line; }
