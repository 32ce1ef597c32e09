/*
 * Changes files in the folder that is its first argument, for the recorder's own tests: in every way that the recorder
 * knows, through libc and past it; or, with a second argument, in one that it must refuse.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static void must(int worked, const char *what) {
    if (!worked) {
        perror(what);
        exit(1);
    }
}

/* Makes the call here, where no library can stand between. */
static long past_libc(long number, long a, long b, long c, long d, long e) {
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

static void what_is_refused(const char *how) {
    int fd = open("file", O_RDWR | O_CREAT, 0600), copy = open("copy", O_RDWR | O_CREAT, 0600);
    must(fd >= 0 && copy >= 0 && write(fd, "bytes", 5) == 5, "write");
    if (strcmp(how, "link") == 0) {
        must(link("file", "link") == 0, how);
    } else if (strcmp(how, "symlink") == 0) {
        must(symlink("file", "link") == 0, how);
    } else if (strcmp(how, "mapping") == 0) {
        char *bytes = mmap(NULL, 5, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        must(bytes != MAP_FAILED, how);
        bytes[0] = 'B';
    } else {
        loff_t from = 0;
        must(copy_file_range(fd, &from, copy, NULL, 5, 0) == 5, how);
    }
}

static void what_is_recorded(void) {
    char line[3000];
    memset(line, 'a', sizeof line);

    must(mkdir("folder", 0700) == 0 && mkdir("folder/inner", 0700) == 0, "mkdir");
    int fd = open("folder/file", O_RDWR | O_CREAT | O_EXCL, 0600);
    must(fd >= 0 && write(fd, line, sizeof line) == sizeof line, "write");
    must(pwrite(fd, "pwritten", 8, 1000) == 8 && pwrite(fd, "far", 3, 70000) == 3, "pwrite");
    struct iovec pieces[3] = {{"one", 3}, {"", 0}, {"three", 5}};
    must(writev(fd, pieces, 3) == 8 && pwritev(fd, pieces, 3, 511) == 8, "writev");
    must(fsync(fd) == 0 && ftruncate(fd, 60000) == 0 && posix_fallocate(fd, 0, 80000) == 0, "ftruncate");
    must(fdatasync(fd) == 0 && close(fd) == 0, "fdatasync");

    fd = open("folder/file", O_WRONLY | O_APPEND);
    must(fd >= 0 && write(fd, "appended", 8) == 8, "append");
    int second = dup(fd);
    must(write(second, "again", 5) == 5 && close(second) == 0 && close(fd) == 0, "dup");

    FILE *stream = fopen("short", "w");
    must(stream && fputs("by a stream", stream) >= 0 && fclose(stream) == 0, "fopen");
    stream = fopen("short", "w");
    must(stream && fputs("cut first", stream) >= 0 && fclose(stream) == 0 && truncate("short", 4) == 0, "truncate");

    int folder = open("folder", O_RDONLY | O_DIRECTORY);
    must(folder >= 0 && renameat(AT_FDCWD, "short", folder, "inner/moved") == 0 && fsync(folder) == 0, "renameat");
    must(mkdirat(folder, "gone", 0700) == 0 && unlinkat(folder, "gone", AT_REMOVEDIR) == 0, "unlinkat");
    must(rename("folder/inner", "outer") == 0, "rename");

    must(creat("replaced", 0600) >= 0 && creat("replacing", 0600) >= 0, "creat");
    must(rename("replacing", "replaced") == 0, "rename over a file");
    int deleted = open("deleted", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    must(deleted >= 0 && unlink("deleted") == 0 && write(deleted, "nobody reads this", 17) == 17, "unlink");
    must(symlink("outer", "../link-beside-the-root") == 0 && unlink("../link-beside-the-root") == 0, "symlink");

    long raw = past_libc(SYS_openat, AT_FDCWD, (long)"raw", O_WRONLY | O_CREAT, 0600, 0);
    must(raw >= 0 && past_libc(SYS_write, raw, (long)"past libc", 9, 0, 0) == 9, "raw write");
    must(past_libc(SYS_fsync, raw, 0, 0, 0, 0) == 0, "raw fsync");
    must(past_libc(SYS_renameat2, AT_FDCWD, (long)"raw", folder, (long)"by-hand", RENAME_NOREPLACE) == 0, "renameat2");
}

int main(int count, char **arguments) {
    must(count >= 2 && chdir(arguments[1]) == 0, "chdir");
    if (count == 3)
        what_is_refused(arguments[2]);
    else
        what_is_recorded();
    return 0;
}
