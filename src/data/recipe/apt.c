/* apt.c - a private configuration file, apt-get update, and apt-helper to read what came. See apt.h. */
#include "data/recipe/apt.h"
#include "data/recipe/process.h"
#include "data/text.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char helper[] = "/usr/lib/apt/apt-helper";
static const char keyring[] = "/usr/share/keyrings/debian-archive-keyring.gpg";

/* Lists and cache are ours; descriptions in English (container images set the languages to none, hence #clear); hooks
 * of the machine would need root. */
static fv_status write_config(const fv__apt *apt, const char *sources) {
    fv__buf text = {0};
    fv__buf_text(&text,
                 "#clear Acquire::Languages;\n#clear APT::Update::Post-Invoke;\n"
                 "#clear APT::Update::Post-Invoke-Success;\n#clear APT::Update::Pre-Invoke;\n");
    fv__buf_printf(&text, "Dir::State::Lists \"%s/lists\";\nDir::Cache \"%s/cache\";\n", apt->state, apt->state);
    fv__buf_text(&text, "Acquire::Languages {\"en\";};\nAcquire::Retries \"2\";\nAcquire::http::Timeout \"30\";\n");
    if (sources) fv__buf_printf(&text, "Dir::Etc::SourceList \"%s\";\nDir::Etc::SourceParts \"-\";\n", sources);
    fv_status status = fv__buf_status(&text);
    if (status == FV_OK) status = fv__write_file(apt->config, text.data, text.size);
    fv__buf_free(&text);
    return status;
}

static fv_status no_apt(const char *program) {
    return fv__fail(FV_BAD_DATA,
                    "data: this set is made from the package indexes of Debian\n  expected a Debian or Ubuntu system\n "
                    " found:   no %s\n"
                    "  try:     run the recipe on such a machine (a container will do) and copy the folder here",
                    program);
}

/* The first line that apt complained with, for a message. */
static void first_words(const fv__apt *apt, char *text, size_t size) {
    fv__file file;
    *text = 0;
    if (fv__file_read(&file, apt->log) != FV_OK) return;
    const char *end = memchr(file.data, '\n', file.size);
    size_t length = end ? (size_t)(end - (const char *)file.data) : file.size;
    if (length > size - 1) length = size - 1;
    memcpy(text, file.data, length);
    text[length] = 0;
    fv__file_free(&file);
}

static fv_status update(const fv__apt *apt) {
    const char *argv[] = {"apt-get", "-qq", "-c", apt->config, "update", NULL};
    int code;
    fv__log(FV_LOG_INFO, "data: fetching package indexes of %s with apt-get (40 MB the first time)", apt->codename);
    FV_TRY(fv__run(argv, apt->log, NULL, &code));
    if (code == FV__NOT_FOUND) return no_apt("apt-get");
    if (code) fv__log(FV_LOG_WARN, "data: apt-get update ended with code %d; see %s", code, apt->log);
    return FV_OK;
}

fv_status fv__apt_indexes(const fv__apt *apt, const char *kind, fv__buf *paths) {
    char identifier[64], codename[64];
    snprintf(identifier, sizeof identifier, "Identifier: %s", kind);
    snprintf(codename, sizeof codename, "Codename: %s", apt->codename);
    const char *argv[] = {"apt-get",  "-c",     apt->config,       "indextargets",   "--format", "$(FILENAME)",
                          identifier, codename, "Component: main", "Origin: Debian", NULL};
    int code;
    FV_TRY(fv__run(argv, apt->log, paths, &code));
    return code ? fv__fail(FV_FAIL, "apt-get indextargets: ended with code %d\n  try: read %s", code, apt->log) : FV_OK;
}

static fv_status have_indexes(const fv__apt *apt, bool *have) {
    fv__buf packages = {0}, translations = {0};
    fv_status status = fv__apt_indexes(apt, "Packages", &packages);
    if (status == FV_OK) status = fv__apt_indexes(apt, "Translations", &translations);
    *have = packages.size && translations.size;
    fv__buf_free(&packages);
    fv__buf_free(&translations);
    return status;
}

static fv_status own_sources(const fv__apt *apt, char **path) {
    char line[256];
    if (!fv__path_exists(keyring))
        return fv__fail(
            FV_BAD_DATA,
            "data: this machine's own package sources do not hold Debian %s\n  expected Debian's archive keys\n"
            "  found:   no %s\n  try:     apt-get install debian-archive-keyring",
            apt->codename, keyring);
    int length = snprintf(line, sizeof line, "deb [signed-by=%s] http://deb.debian.org/debian %s main\n", keyring,
                          apt->codename);
    FV_TRY(fv__path_join(path, apt->state, "sources.list"));
    return fv__write_file(*path, line, (size_t)length);
}

static fv_status fetch(const fv__apt *apt) {
    bool have;
    FV_TRY(write_config(apt, NULL));
    FV_TRY(update(apt));
    FV_TRY(have_indexes(apt, &have));
    if (have) return FV_OK;
    fv__log(FV_LOG_INFO,
            "data: no index of Debian %s came from the package sources of this machine: asking deb.debian.org",
            apt->codename);
    char *sources = NULL, words[300];
    fv_status status = own_sources(apt, &sources);
    if (status == FV_OK) status = write_config(apt, sources);
    if (status == FV_OK) status = update(apt);
    if (status == FV_OK) status = have_indexes(apt, &have);
    fv__free(sources);
    FV_TRY(status);
    if (have) return FV_OK;
    first_words(apt, words, sizeof words);
    return fv__fail(FV_FAIL,
                    "apt-get update: no package index of Debian %s came\n  apt-get said: %s\n"
                    "  try:     check the network or the proxy (http_proxy), then run the same command again",
                    apt->codename, *words ? words : "nothing");
}

fv_status fv__apt_open(fv__apt *apt, const char *folder, const char *codename) {
    char absolute[PATH_MAX];
    *apt = (fv__apt){.codename = codename};
    if (!realpath(folder, absolute))
        return fv__fail(FV_BAD_DATA, "%s: cannot be used\n  expected a folder\n  found:   nothing of this name",
                        folder);
    if (strpbrk(absolute, "\"\n{};"))
        return fv__fail(FV_USAGE, "%s: apt cannot be told of a folder with quotes, braces or semicolons in its name",
                        absolute);
    FV_TRY(fv__path_join(&apt->state, absolute, ".apt"));
    FV_TRY(fv__path_join(&apt->config, apt->state, "apt.conf"));
    FV_TRY(fv__path_join(&apt->log, apt->state, "log"));
    static const char *const part[] = {"lists/partial", "cache"};
    for (int i = 0; i < 2; i++) {
        char *path;
        FV_TRY(fv__path_join(&path, apt->state, part[i]));
        fv_status status = fv__make_dirs(path);
        fv__free(path);
        FV_TRY(status);
    }
    FV_TRY(fv__write_file(apt->log, "", 0));
    return fetch(apt);
}

static fv_status repair(fv__buf *text) {
    if (fv__utf8_valid(text->data, text->size) == text->size) return FV_OK;
    fv__buf fixed = {0};
    fv__text_repair(&fixed, text->data, text->size);
    fv__buf_free(text);
    *text = fixed;
    return fv__buf_status(text);
}

fv_status fv__apt_read(const fv__apt *apt, const char *path, fv__buf *text) {
    const char *argv[] = {helper, "cat-file", path, NULL};
    int code;
    FV_TRY(fv__run(argv, apt->log, text, &code));
    if (code == FV__NOT_FOUND) return no_apt(helper);
    if (code)
        return fv__fail(FV_FAIL,
                        "%s: cannot be read: %s ended with code %d\n  try: remove %s and run the same command again",
                        path, helper, code, apt->state);
    return repair(text);
}

void fv__apt_close(fv__apt *apt) {
    fv__free(apt->state);
    fv__free(apt->config);
    fv__free(apt->log);
}
