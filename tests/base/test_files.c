/* base: files. Reading what is not a file, atomic writing, locks, and every system call failed once. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/scratch.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void reads_the_same_bytes(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 4095, 4096, 200000};
    char *bytes = fv__alloc(200000);
    for (int i = 0; i < 200000; i++) bytes[i] = (char)(i * 7);
    for (int i = 0; i < 5; i++) {
        const char *path = scratch_file("some.bin", bytes, sizes[i]);
        fv__file a, b;
        assert_int_equal(fv__file_read(&a, path), FV_OK);
        assert_int_equal(fv__file_read_regular(&b, path), FV_OK);
        assert_int_equal(a.size, sizes[i]);
        assert_int_equal(b.size, sizes[i]);
        if (sizes[i]) assert_memory_equal(a.data, bytes, sizes[i]);
        if (sizes[i]) assert_memory_equal(b.data, bytes, sizes[i]);
        fv__file_free(&a);
        fv__file_free(&b);
        fv__file_free(&b); /* twice is harmless */
    }
    unlink(scratch_path("some.bin"));
    fv__free(bytes);
}

static void reads_pipes(void **state) {
    (void)state;
    const char *path = scratch_path("pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    pid_t child = fork();
    if (child == 0) {
        int fd = open(path, O_WRONLY);
        char piece[1000];
        memset(piece, 'p', sizeof piece);
        for (int i = 0; i < 150; i++)
            if (write(fd, piece, sizeof piece) != sizeof piece) _exit(1);
        _exit(0);
    }
    fv__file file;
    assert_int_equal(fv__file_read(&file, path), FV_OK);
    assert_int_equal(file.size, 150000);
    assert_int_equal(file.data[149999], 'p');
    fv__file_free(&file);
    waitpid(child, NULL, 0);
    unlink(path);
}

static void reading_says_what_is_wrong(void **state) {
    (void)state;
    fv__file file;
    char expected[256];
    const char *missing = scratch_path("missing");
    snprintf(expected, sizeof expected, "%s: cannot open: No such file or directory", missing);
    assert_int_equal(fv__file_read(&file, missing), FV_BAD_DATA);
    assert_string_equal(fv_message(), expected);
    assert_int_equal(fv__file_read(&file, scratch_folder), FV_BAD_DATA);
    assert_non_null(strstr(fv_message(), "found:   a folder"));
    assert_int_equal(fv__file_read(&file, scratch_file("x", "x", 1)), FV_OK);
    fv__file_free(&file);
    if (geteuid() != 0) { /* root reads everything */
        chmod(scratch_path("x"), 0);
        assert_int_equal(fv__file_read(&file, scratch_path("x")), FV_BAD_DATA);
        assert_non_null(strstr(fv_message(), "Permission denied"));
    }
    unlink(scratch_path("x"));
}

static void writes_replace_the_file(void **state) {
    (void)state;
    const char *path = scratch_path("out.txt");
    assert_int_equal(fv__write_file(path, "one", 3), FV_OK);
    assert_true(scratch_holds(path, "one", 3));
    chmod(path, 0640);
    fv__writer w;
    assert_int_equal(fv__writer_open(&w, path), FV_OK);
    fv__writer_add(&w, "tw", 2);
    assert_true(scratch_holds(path, "one", 3)); /* until the commit */
    fv__writer_add(&w, "o", 1);
    assert_int_equal(w.written, 3);
    assert_int_equal(fv__writer_commit(&w), FV_OK);
    assert_true(scratch_holds(path, "two", 3));
    struct stat about;
    stat(path, &about);
    assert_int_equal(about.st_mode & 0777, 0640); /* permissions are kept */
    assert_int_equal(fv__writer_open(&w, path), FV_OK);
    fv__writer_add(&w, "three", 5);
    fv__writer_abort(&w);
    assert_true(scratch_holds(path, "two", 3));
    unlink(path);
    assert_int_equal(scratch_count(), 0);
}

static void writes_follow_links(void **state) {
    (void)state;
    const char *target = scratch_file("target", "old", 3), *link = scratch_path("link");
    assert_int_equal(symlink("target", link), 0);
    assert_int_equal(fv__write_file(link, "new", 3), FV_OK);
    assert_true(scratch_holds(target, "new", 3));
    struct stat about;
    lstat(link, &about);
    assert_true(S_ISLNK(about.st_mode));
    unlink(link);
    unlink(target);
}

static void writing_says_what_is_wrong(void **state) {
    (void)state;
    assert_int_equal(fv__write_file(scratch_folder, "x", 1), FV_FAIL);
    assert_non_null(strstr(fv_message(), "found:   a folder"));
    assert_int_equal(fv__write_file(scratch_path("no/such/x"), "x", 1), FV_FAIL);
    assert_non_null(strstr(fv_message(), "no/such/x: cannot write: No such file or directory"));
    assert_int_equal(fv__write_file("/dev/full", "x", 1), FV_NO_RESOURCES);
    assert_string_equal(fv_message(), "/dev/full: cannot write: No space left on device");
    assert_int_equal(fv__write_file("/dev/null", "x", 1), FV_OK); /* a device is written, never replaced */
    struct stat about;
    assert_int_equal(stat("/dev/null", &about), 0);
    assert_true(S_ISCHR(about.st_mode));
}

/* A limit on the size of files is as real as a full disk. */
static void a_full_disk_leaves_the_old_file(void **state) {
    (void)state;
    const char *path = scratch_file("big", "old", 3);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {5000, 5000};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        char *bytes = calloc(1, 100000);
        fv_status status = fv__write_file(path, bytes, 100000);
        free(bytes);
        _exit(status == FV_NO_RESOURCES && strstr(fv_message(), "File too large") ? 0 : 1);
    }
    int result = -1;
    waitpid(child, &result, 0);
    assert_int_equal(result, 0);
    assert_true(scratch_holds(path, "old", 3));
    assert_int_equal(scratch_count(), 1);
    unlink(path);
}

static void two_writers_of_one_file_are_kept_apart(void **state) {
    (void)state;
    const char *path = scratch_path("shared");
    fv__writer a, b;
    assert_int_equal(fv__writer_open(&a, path), FV_OK);
    fv__writer_add(&a, "first", 5);
    assert_int_equal(fv__writer_open(&b, path), FV_FAIL);
    assert_non_null(strstr(fv_message(), "is being written by another process"));
    fv__writer_abort(&b);
    assert_int_equal(fv__writer_commit(&a), FV_OK);
    assert_true(scratch_holds(path, "first", 5));
    assert_int_equal(fv__write_file(path, "second", 6), FV_OK);
    assert_true(scratch_holds(path, "second", 6));
    unlink(path);
}

static void a_killed_writer_leaves_no_litter_behind_the_next(void **state) {
    (void)state;
    const char *path = scratch_path("victim");
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (child == 0) {
            fv__writer w;
            if (fv__writer_open(&w, path) == FV_OK) fv__writer_add(&w, "half", 4);
            _exit(9); /* as kill -9 */
        }
        waitpid(child, NULL, 0);
        assert_false(fv__path_exists(path));
        assert_int_equal(scratch_count(), 1);
    }
    assert_int_equal(fv__write_file(path, "hi", 2), FV_OK);
    assert_true(scratch_holds(path, "hi", 2));
    assert_int_equal(scratch_count(), 1);
    unlink(path);
}

/* Every call of the file point and of memory fails once; then all later calls do. */
static void every_failure_leaves_old_or_new(fv__fault_point point, bool persistent) {
    int failures = 0;
    for (int nth = 1;; nth++) {
        int64_t live = fv__alloc_live();
        const char *path = scratch_file("precious", "old", 3);
        fv__inject(point, nth, persistent);
        fv_status status = fv__write_file(path, "newer", 5);
        fv__inject(point, 0, false);
        assert_int_equal(fv__alloc_live(), live);
        assert_int_equal(scratch_count(), 1);
        if (status == FV_OK) break;
        assert_true(scratch_holds(path, "old", 3) || scratch_holds(path, "newer", 5));
        assert_true(strlen(fv_message()) > 0);
        failures++;
    }
    assert_true(scratch_holds(scratch_path("precious"), "newer", 5));
    assert_true(failures >=
                (point == FV_FAULT_FILE ? 5 : 2)); /* open, write, fsync, rename, open and fsync of the folder */
    unlink(scratch_path("precious"));
}

static void every_failing_call_leaves_old_or_new(void **state) {
    (void)state;
    for (int persistent = 0; persistent < 2; persistent++) {
        every_failure_leaves_old_or_new(FV_FAULT_FILE, persistent);
        every_failure_leaves_old_or_new(FV_FAULT_ALLOC, persistent);
    }
}

static void every_failing_call_of_reading_is_reported(void **state) {
    (void)state;
    const char *path = scratch_file("r", "text", 4);
    int64_t live = fv__alloc_live();
    for (int point = 0; point < FV_FAULT_POINTS; point++)
        for (int nth = 1, done = 0; !done; nth++) {
            fv__file file;
            fv__inject((fv__fault_point)point, nth, true);
            fv_status status = fv__file_read(&file, path);
            fv__inject((fv__fault_point)point, 0, false);
            done = status == FV_OK;
            if (done)
                assert_true(nth > 1);
            else
                assert_int_equal(status, point == FV_FAULT_ALLOC ? FV_NO_RESOURCES : FV_BAD_DATA);
            fv__file_free(&file);
            assert_int_equal(fv__alloc_live(), live);
        }
    unlink(path);
}

static void lines_are_appended(void **state) {
    (void)state;
    const char *path = scratch_path("log");
    assert_int_equal(fv__append_line(path, "one"), FV_OK);
    assert_int_equal(fv__append_line(path, "two"), FV_OK);
    assert_true(scratch_holds(path, "one\ntwo\n", 8));
    scratch_file("log", "one\nha", 6); /* a crash cut the second line */
    assert_int_equal(fv__append_line(path, "three"), FV_OK);
    assert_true(scratch_holds(path, "one\nha\nthree\n", 13));
    for (int nth = 1; nth <= 3; nth++) {
        fv__inject(FV_FAULT_FILE, nth, false);
        assert_int_equal(fv__append_line(path, "x"), nth == 2 ? FV_NO_RESOURCES : FV_FAIL); /* open, write, close */
        fv__inject(FV_FAULT_FILE, 0, false);
    }
    assert_int_equal(fv__append_line("/dev/full", "x"), FV_FAIL); /* no file of ours */
    unlink(path);
}

static void folders_are_made(void **state) {
    (void)state;
    char *path;
    assert_int_equal(fv__make_dirs(scratch_path("a/b//c/")), FV_OK);
    assert_int_equal(fv__make_dirs(scratch_path("a/b/c")), FV_OK);
    assert_true(fv__path_is_dir(scratch_path("a/b/c")));
    scratch_file("a/file", "x", 1);
    assert_int_equal(fv__make_dirs(scratch_path("a/file/d")), FV_FAIL);
    assert_non_null(strstr(fv_message(), "a/file: cannot make the folder: File exists"));
    assert_true(fv__path_exists(scratch_path("a/file")) && !fv__path_is_dir(scratch_path("a/file")));
    assert_int_equal(fv__path_join(&path, "runs", "x"), FV_OK);
    assert_string_equal(path, "runs/x");
    fv__free(path);
    assert_int_equal(fv__path_join(&path, "runs/", "x"), FV_OK);
    assert_string_equal(path, "runs/x");
    fv__free(path);
    assert_int_equal(fv__path_join(&path, "", "x"), FV_OK);
    assert_string_equal(path, "x");
    fv__free(path);
    assert_int_equal(fv__path_join(&path, "runs", "/etc/x"), FV_OK);
    assert_string_equal(path, "/etc/x");
    fv__free(path);
}

/* What was read stays, whatever becomes of the file: a map would end the process here. */
static void a_file_cut_short_after_reading_stays(void **state) {
    (void)state;
    static char bytes[1 << 20];
    memset(bytes, 'b', sizeof bytes);
    const char *path = scratch_file("cut", bytes, sizeof bytes);
    fv__file file;
    assert_int_equal(fv__file_read(&file, path), FV_OK);
    assert_int_equal(truncate(path, 0), 0);
    assert_memory_equal(file.data, bytes, sizeof bytes);
    fv__file_free(&file);
    unlink(path);
}

/* Pipes without another end are refused at once, not waited for. */
static void regular_files_only(void **state) {
    (void)state;
    fv__file file;
    const char *pipe = scratch_path("pipe");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    alarm(10);
    assert_int_equal(fv__file_read_regular(&file, pipe), FV_BAD_DATA);
    assert_non_null(strstr(fv_message(), "expected a regular file\n  found:   a pipe, a device or a socket"));
    assert_int_equal(fv__file_read_regular(&file, "/dev/zero"), FV_BAD_DATA);
    assert_int_equal(fv__append_line(pipe, "x"), FV_FAIL);
    fv__lock_held lock;
    assert_int_equal(fv__lock(&lock, pipe), FV_FAIL);
    alarm(0);
    unlink(pipe);
}

/* Links at the names a run appends to, locks or writes by way of: the file they lead to stays as it is. */
static void links_are_not_written_through(void **state) {
    (void)state;
    char victim[256], name[256], temporary[256];
    strcpy(victim, scratch_file("victim", "precious", 8));
    strcpy(name, scratch_path("own"));
    strcpy(temporary, scratch_path(".own.tmp"));
    for (int hard = 0; hard < 2; hard++) {
        fv__lock_held lock;
        assert_int_equal(hard ? link(victim, name) : symlink(victim, name), 0);
        assert_int_equal(fv__append_line(name, "x"), FV_FAIL);
        assert_non_null(strstr(fv_message(), "found:   a link, a pipe or a device"));
        assert_int_equal(fv__lock(&lock, name), FV_FAIL);
        assert_int_equal(fv__check_own_file(name), hard ? FV_OK : FV_FAIL);
        unlink(name);
        assert_int_equal(hard ? link(victim, temporary) : symlink(victim, temporary), 0);
        assert_int_equal(fv__write_file(name, "new", 3), FV_FAIL);
        assert_non_null(strstr(fv_message(), "is in the way"));
        assert_true(scratch_holds(victim, "precious", 8));
        assert_int_equal(access(temporary, F_OK), 0); /* not ours to remove */
        unlink(temporary);
    }
    assert_int_equal(mkfifo(temporary, 0600), 0);
    alarm(10);
    assert_int_equal(fv__write_file(name, "new", 3), FV_FAIL);
    int reader = open(temporary, O_RDONLY | O_NONBLOCK); /* now somebody reads it */
    assert_int_equal(fv__write_file(name, "new", 3), FV_FAIL);
    alarm(0);
    close(reader);
    unlink(temporary);
    unlink(victim);
}

static void a_lock_keeps_the_second_out_and_names_the_first(void **state) {
    (void)state;
    const char *path = scratch_path("lock");
    fv__lock_held first, second;
    char holder[64];
    snprintf(holder, sizeof holder, "is locked by process %ld\n", (long)getpid());
    assert_int_equal(fv__lock(&first, path), FV_OK);
    assert_int_equal(fv__lock(&second, path), FV_FAIL); /* also within one process */
    assert_true(second.file == -1 && second.folder == -1);
    assert_non_null(strstr(fv_message(), holder));
    pid_t child = fork();
    if (child == 0) {
        fv__unlock(&first); /* a fork shares the lock; a second program would not */
        _exit(fv__lock(&second, path) == FV_FAIL && strstr(fv_message(), holder) ? 0 : 1);
    }
    int result = -1;
    waitpid(child, &result, 0);
    assert_int_equal(result, 0);
    unlink(path); /* a removed lock file lets nobody in */
    assert_int_equal(fv__lock(&second, path), FV_FAIL);
    assert_non_null(strstr(fv_message(), "is locked by another process"));
    fv__unlock(&first);
    assert_int_equal(fv__lock(&first, path), FV_OK);
    fv__unlock(&first);
    assert_int_equal(fv__lock(&first, scratch_path("no/lock")), FV_FAIL);
    unlink(path);
}

/* FOVEA_FAIL reaches a program from outside: this one starts itself again. */
static void the_environment_injects(void **state) {
    (void)state;
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(length > 0);
    self[length] = '\0';
    static const char *const rules[] = {"alloc:2", "alloc:1+", "file:2+", "alloc:3,file:1", "nonsense:x,file:,alloc"};
    static const char *const results[] = {"010 000", "111 000", "000 011", "001 100", "000 000"};
    for (int i = 0; i < 5; i++) {
        char command[8192], line[64] = "";
        snprintf(command, sizeof command, "FOVEA_FAIL=%s %s probe", rules[i], self);
        FILE *pipe = popen(command, "r");
        assert_non_null(fgets(line, sizeof line, pipe));
        pclose(pipe);
        line[strcspn(line, "\n")] = '\0';
        assert_string_equal(line, results[i]);
    }
}

/* Prints which of three calls through each point must fail. */
static int probe(void) {
    for (int point = 0; point < FV_FAULT_POINTS; point++)
        for (int i = 0; i < 3; i++)
            printf("%d%s", fv__injected((fv__fault_point)point), i < 2 ? "" : point ? "\n" : " ");
    return 0;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_same_bytes),
        cmocka_unit_test(reads_pipes),
        cmocka_unit_test(reading_says_what_is_wrong),
        cmocka_unit_test(writes_replace_the_file),
        cmocka_unit_test(writes_follow_links),
        cmocka_unit_test(writing_says_what_is_wrong),
        cmocka_unit_test(a_full_disk_leaves_the_old_file),
        cmocka_unit_test(two_writers_of_one_file_are_kept_apart),
        cmocka_unit_test(a_killed_writer_leaves_no_litter_behind_the_next),
        cmocka_unit_test(every_failing_call_leaves_old_or_new),
        cmocka_unit_test(every_failing_call_of_reading_is_reported),
        cmocka_unit_test(lines_are_appended),
        cmocka_unit_test(folders_are_made),
        cmocka_unit_test(a_lock_keeps_the_second_out_and_names_the_first),
        cmocka_unit_test(a_file_cut_short_after_reading_stays),
        cmocka_unit_test(regular_files_only),
        cmocka_unit_test(links_are_not_written_through),
        cmocka_unit_test(the_environment_injects),
    };
    if (argc == 2 && !strcmp(argv[1], "probe")) return probe();
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
