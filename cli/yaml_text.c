/* Text as YAML, and the file it comes from. See yaml_text.h. */
#include "yaml_text.h"
#include "console.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LARGEST = 1 << 20 };

/* ---- the file */

static fv_status cannot_read(const char *path, const char *why) {
    return cli_fail(
        FV_USAGE,
        "%s: cannot be read\n  expected a YAML file with flags, such as \"learning-rate: 0.001\"\n  found:   %s", path,
        why);
}

static bool may_be_pipe(const char *path, bool own) {
    return !own && (strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/proc/", 6) == 0);
}

static fv_status read_up(int file, char *text, size_t *size, const char *path) {
    while (*size <= LARGEST) {
        ssize_t got = read(file, text + *size, LARGEST + 1 - *size);
        if (got == 0) return FV_OK;
        if (got < 0 && errno != EINTR) return cannot_read(path, strerror(errno));
        if (got > 0) *size += (size_t)got;
    }
    return cannot_read(path, "more than 1 MiB");
}

fv_status cli_yaml_load(char **text, size_t *size, const char *path, bool own) {
    struct stat about;
    const bool pipes = may_be_pipe(path, own);
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | (pipes ? 0 : O_NONBLOCK));
    if (file < 0) return cannot_read(path, strerror(errno));
    fv_status status = FV_OK;
    if (fstat(file, &about) != 0)
        status = cannot_read(path, strerror(errno));
    else if (S_ISDIR(about.st_mode))
        status = cannot_read(path, strerror(EISDIR));
    else if (!S_ISREG(about.st_mode) && !pipes)
        status = cannot_read(path, "a pipe or a device");
    *text = cli_alloc(LARGEST + 1);
    *size = 0;
    if (status == FV_OK) status = read_up(file, *text, size, path);
    close(file);
    if (status != FV_OK) cli_free(*text);
    return status;
}

/* ---- base64, RFC 4648; blanks and line breaks are skipped, as YAML folds lines */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static char *base64_encode(const char *text) {
    const unsigned char *p = (const unsigned char *)text;
    size_t size = strlen(text);
    char *out = cli_alloc(4 * (size / 3 + 1) + 1), *o = out;
    for (size_t i = 0; i < size; i += 3) {
        unsigned bits = (unsigned)p[i] << 16 | (i + 1 < size ? (unsigned)p[i + 1] << 8 : 0) |
                        (i + 2 < size ? (unsigned)p[i + 2] : 0);
        for (size_t k = 0; k < 4; k++) *o++ = i + k > size ? '=' : digits[bits >> (18 - 6 * k) & 63];
    }
    return out;
}

char *cli_base64_decode(const char *text) {
    char *out = cli_alloc(strlen(text) + 1), *o = out;
    unsigned bits = 0, held = 0;
    bool good = true, ended = false;
    for (; *text && good; text++) {
        const char *digit = strchr(digits, *text);
        if (strchr(" \t\r\n", *text)) continue;
        if (*text == '=') ended = true;
        if (*text == '=') continue;
        good = digit && !ended;
        bits = bits << 6 | (good ? (unsigned)(digit - digits) : 0);
        held += 6;
        if (held < 8) continue;
        held -= 8;
        *o = (char)(bits >> held & 255);
        good &= *o++ != 0;
    }
    if (good) return out;
    cli_free(out);
    return NULL;
}

/* ---- values */

/* Length of the character, 0 when it is none that YAML may hold as it is. */
static size_t character(const unsigned char *c) {
    static const unsigned least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = *c < 0x80 ? 1 : *c >> 5 == 6 ? 2 : *c >> 4 == 14 ? 3 : *c >> 3 == 30 ? 4 : 0;
    unsigned code = n == 1 ? *c : n ? *c & (0x7fu >> n) : 0;
    for (size_t i = 1; i < n; i++) {
        if (c[i] >> 6 != 2) return 0;
        code = code << 6 | (c[i] & 0x3f);
    }
    return n && code >= least[n] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) ? n : 0;
}

static bool is_utf8(const char *text) {
    const unsigned char *c = (const unsigned char *)text;
    for (size_t n; *c; c += n)
        if (!(n = character(c))) return false;
    return true;
}

static bool is_plain(const char *value) {
    bool plain = *value && strcmp(value, "null") != 0 && strcmp(value, "~") != 0;
    plain = plain && (isalnum((unsigned char)*value) || strchr("./_", *value) ||
                      (*value == '-' && isdigit((unsigned char)value[1])));
    for (const char *c = value; *c && plain; c++) plain = isalnum((unsigned char)*c) || strchr("._+/-=", *c);
    return plain;
}

/* What YAML does not take as it is, or would fold: controls, the line breaks of Unicode, the mark of byte order. */
static const char *escape_of(const unsigned char *c, char text[8]) {
    if (*c == 0xc2 && c[1] < 0xa0) return snprintf(text, 8, "\\x%02x", c[1]), text;
    if (*c == 0xe2 && c[1] == 0x80 && (c[2] == 0xa8 || c[2] == 0xa9))
        return snprintf(text, 8, "\\u%04x", 0x2000 + (c[2] & 0x3f)), text;
    if (*c == 0xef && c[1] == 0xbb && c[2] == 0xbf) return "\\ufeff";
    if (*c == 0xef && c[1] == 0xbf && c[2] >= 0xbe)
        return snprintf(text, 8, "\\u%04x", 0xff00 + 0xc0 + (c[2] & 0x3f)), text;
    if (*c == '"' || *c == '\\') return snprintf(text, 8, "\\%c", *c), text;
    if (*c < 0x20 || *c == 0x7f) return snprintf(text, 8, "\\x%02x", *c), text;
    return NULL;
}

static char *quoted(const char *value) {
    size_t room = 6 * strlen(value) + 3;
    char *out = cli_alloc(room), *o = out, code[8];
    *o++ = '"';
    for (const unsigned char *c = (const unsigned char *)value; *c;) {
        size_t n = character(c);
        const char *escape = escape_of(c, code);
        if (escape)
            o += snprintf(o, room - (size_t)(o - out), "%s", escape);
        else
            memcpy(o, c, n), o += n;
        c += n;
    }
    *o++ = '"';
    return out;
}

char *cli_yaml_scalar(const char *value) {
    if (is_plain(value)) return cli_text("%s", value);
    if (is_utf8(value)) return quoted(value);
    char *code = base64_encode(value), *out = cli_text("!!binary \"%s\"", code);
    cli_free(code);
    return out;
}
