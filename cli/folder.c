/* Run folders and files the command itself writes. See folder.h. */
#include "folder.h"
#include "console.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

bool cli_is_folder(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

bool cli_is_file(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && !S_ISDIR(about.st_mode);
}

char *cli_join(const char *folder, const char *name) {
    size_t n = strlen(folder);
    return cli_text("%s%s%s", folder, n && folder[n - 1] == '/' ? "" : "/", name);
}

static fv_status cannot(const char *what, const char *path) {
    bool full = errno == ENOSPC || errno == EDQUOT;
    return cli_fail(full ? FV_NO_RESOURCES : FV_FAIL, "cannot %s %s: %s", what, path, strerror(errno));
}

static bool write_all(int file, const char *text, size_t size) {
    while (size > 0) {
        ssize_t n = write(file, text, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        text += n;
        size -= (size_t)n;
    }
    return fsync(file) == 0;
}

fv_status cli_write_file(const char *path, const char *text, size_t size) {
    char *temporary = cli_text("%s.%ld.tmp", path, (long)getpid());
    int file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    fv_status status = FV_OK;
    if (file < 0)
        status = cannot("write", path);
    else {
        bool good = write_all(file, text, size);
        if (!good) status = cannot("write", path);
        if (close(file) != 0 && good) status = cannot("write", path);
        if (status == FV_OK && rename(temporary, path) != 0) status = cannot("write", path);
        if (status != FV_OK) unlink(temporary);
    }
    cli_free(temporary);
    return status;
}

/* "reviews" of data/reviews.csv; a file that is only called train.tsv is known by its folder. */
char *cli_run_name(const char *input) {
    const char *slash = strrchr(input, '/'), *name = slash ? slash + 1 : input;
    size_t n = strcspn(name, ".");
    if (slash && slash > input && n == 5 && strncmp(name, "train", 5) == 0) {
        const char *end = slash;
        while (slash > input && slash[-1] != '/') --slash;
        if (*slash != '.' && end > slash) return cli_text("runs/%.*s", (int)(end - slash), slash);
    }
    return n ? cli_text("runs/%.*s", (int)n, name) : cli_text("runs/run");
}

static fv_status make_parents(const char *path) {
    char *copy = cli_text("%s", path);
    for (char *c = strchr(copy + 1, '/'); c; c = strchr(c + 1, '/')) {
        *c = 0;
        if (mkdir(copy, 0777) != 0 && errno != EEXIST) {
            fv_status status = cannot("make the folder", copy);
            cli_free(copy);
            return status;
        }
        *c = '/';
    }
    cli_free(copy);
    return FV_OK;
}

static bool is_empty(const char *folder) {
    DIR *list = opendir(folder);
    bool empty = list != NULL;
    for (struct dirent *one; list && (one = readdir(list));)
        if (strcmp(one->d_name, ".") != 0 && strcmp(one->d_name, "..") != 0) empty = false;
    if (list) closedir(list);
    return empty;
}

static bool is_held(const char *path, int flags) {
    int file = open(path, flags | O_CLOEXEC);
    bool held = file >= 0 && flock(file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (file >= 0) close(file);
    return held;
}

/* Has another process locked the run? */
static bool is_locked(const char *folder) {
    char *lock = cli_join(folder, "lock");
    bool held = is_held(lock, O_RDWR | O_NOFOLLOW | O_NONBLOCK) || is_held(folder, O_RDONLY | O_DIRECTORY);
    cli_free(lock);
    return held;
}

static bool is_among(const char *const *names, const char *name) {
    while (*names && strcmp(*names, name) != 0) ++names;
    return *names != NULL;
}

/* Only files that a run writes before its first checkpoint, and nobody at work: it was killed before it had any. */
bool cli_is_unstarted(const char *folder) {
    static const char *const early[] = {".",           "..",   "config.yaml",         "command.txt",
                                        "config.json", "lock", "tokenizer.json",      "metrics.jsonl",
                                        "last",        "log",  "vectors.safetensors", NULL};
    char *last = cli_join(folder, "last"), *config = cli_join(folder, "config.yaml");
    bool early_only = cli_is_file(config) && (!cli_is_folder(last) || is_empty(last)) && !is_locked(folder);
    DIR *list = early_only ? opendir(folder) : NULL;
    for (struct dirent *one; list && (one = readdir(list));) early_only = early_only && is_among(early, one->d_name);
    if (list) closedir(list);
    cli_free(last);
    cli_free(config);
    return early_only;
}

static bool is_free(const char *folder) { return is_empty(folder) || cli_is_unstarted(folder); }

static fv_status in_use(const char *folder) {
    return cli_fail(
        FV_USAGE,
        "--output %s: in use\n  expected a new or empty folder\n  found:   %s\n  try:     --overwrite, or -o %s-2",
        folder, cli_is_file(folder) ? "a file" : "one with files in it", folder);
}

/* mkdir is the claim: two trainers that start together get two folders. */
fv_status cli_claim_folder(const char *wanted, bool overwrite, bool asked, char **folder) {
    char *base = cli_text("%s", wanted);
    for (size_t n = strlen(base); n > 1 && base[n - 1] == '/'; n--) base[n - 1] = 0;
    fv_status status = make_parents(base);
    *folder = NULL;
    for (int i = 1; status == FV_OK && i < 10000; i++) {
        char *name = i == 1 ? cli_text("%s", base) : cli_text("%s-%d", base, i);
        bool made = mkdir(name, 0777) == 0;
        if (!made && errno != EEXIST) status = cannot("make the folder", name);
        if (made || (errno == EEXIST && cli_is_folder(name) && (overwrite || is_free(name)))) {
            *folder = name;
            break;
        }
        if (status == FV_OK && overwrite && cli_is_file(name))
            status = cli_fail(FV_USAGE,
                              "%s: cannot be a run folder\n  expected a folder or a new name\n  found:   a file", name);
        if (status == FV_OK && asked) status = in_use(name);
        cli_free(name);
    }
    if (status == FV_OK && !*folder) status = cli_fail(FV_FAIL, "%s: too many runs of this name", base);
    cli_free(base);
    return status;
}

void cli_remove_folder(const char *folder) {
    DIR *list = opendir(folder);
    for (struct dirent *one; list && (one = readdir(list));) {
        char *path = cli_join(folder, one->d_name);
        if (cli_is_file(path)) unlink(path);
        cli_free(path);
    }
    if (list) closedir(list);
    rmdir(folder);
}

fv_status cli_check_free(const char *folder) {
    if (!is_locked(folder)) return FV_OK;
    return cli_fail(FV_USAGE, "%s: another process trains there\n  try:     another --output", folder);
}

fv_status cli_find_run(const char *name, char **folder) {
    struct timespec newest = {0, 0};
    *folder = NULL;
    if (strcmp(name, "last") != 0 || cli_is_folder(name)) {
        char *run = cli_text("runs/%s", name);
        *folder = !cli_is_folder(name) && cli_is_folder(run) ? run : cli_text("%s", name);
        if (*folder != run) cli_free(run);
        return FV_OK;
    }
    DIR *list = opendir("runs");
    for (struct dirent *one; list && (one = readdir(list));) {
        char *path = cli_text("runs/%s", one->d_name), *config = cli_join(path, "config.yaml"),
             *state = cli_join(path, "metrics.jsonl");
        struct stat about;
        bool is_run =
            one->d_name[0] != '.' && cli_is_file(config) && stat(cli_is_file(state) ? state : config, &about) == 0;
        bool newer = is_run && (about.st_mtim.tv_sec > newest.tv_sec ||
                                (about.st_mtim.tv_sec == newest.tv_sec && about.st_mtim.tv_nsec > newest.tv_nsec));
        if (newer) {
            newest = about.st_mtim;
            cli_free(*folder);
            *folder = cli_text("%s", path);
        }
        cli_free(path);
        cli_free(config);
        cli_free(state);
    }
    if (list) closedir(list);
    return *folder
               ? FV_OK
               : cli_fail(FV_USAGE,
                          "--resume last\n  expected a run under runs/\n  found:   none\n  try:     fovea train FILE");
}
