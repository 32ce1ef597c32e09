/*
 * Records what a process does to the files below one folder, for tests that cut the power.
 *
 * Loaded by LD_PRELOAD. Wrapping the functions of libc would not do: some of the daemon's crates (rustix, below
 * tempfile) make their system calls themselves. So the library asks the kernel to hand every call that changes a
 * file to a signal handler (seccomp, SECCOMP_RET_TRAP), whoever makes it. The handler makes the call through the
 * one instruction that the filter lets pass, and appends what was done to the log.
 *
 * DARKROOM_RECORDER_LOG is the log, DARKROOM_RECORDER_ROOT the folder, as an absolute path without links.
 *
 * Order: calls that change names or contents are made and logged under one lock, so the log has them in the order in
 * which they took effect. A sync is logged twice, before it is made and after it has succeeded: what stands before
 * the first is durable once the second stands there. Whatever the process tells anybody, it tells after its calls
 * have returned, and so after they are in the log: the length of the log when an answer arrives bounds what the answer
 * can rest on.
 *
 * A call that changes files in a way that the log has no record for is logged as such, and its reader refuses the log.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#if !defined(__x86_64__)
#error "the gate and the handler are written for x86-64"
#endif

/* Kinds of records; tests/src/power/log.rs has the same. */
enum kind {
    STARTED = 1,
    CREATED = 2,
    WRITTEN = 3,
    RESIZED = 4,
    SYNC_BEGUN = 5,
    SYNC_DONE = 6,
    RENAMED = 7,
    UNLINKED = 8,
    FOLDER_MADE = 9,
    FOLDER_REMOVED = 10,
    NOT_UNDERSTOOD = 11,
};

/* What stands before the paths and the bytes of a record, little-endian as the processor is. */
struct header {
    uint32_t kind;
    uint32_t path_bytes;
    uint32_t target_bytes;
    uint32_t data_only; /* Of a sync: fdatasync. */
    uint64_t inode;
    uint64_t at; /* An offset, a size, or the number of a sync. */
    uint64_t bytes;
};

static char root[PATH_MAX];
static size_t root_bytes;
static int log_fd = -1;
static uint64_t syncs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The one `syscall` instruction that the filter lets pass: it knows it by the address behind it. */
long recorder_gate(long number, long a, long b, long c, long d, long e, long f);
extern char recorder_gate_end[];
__asm__(".text\n"
        ".type recorder_gate, @function\n"
        ".hidden recorder_gate\n"
        ".globl recorder_gate\n"
        "recorder_gate:\n"
        "  movq %rdi, %rax\n"
        "  movq %rsi, %rdi\n"
        "  movq %rdx, %rsi\n"
        "  movq %rcx, %rdx\n"
        "  movq %r8, %r10\n"
        "  movq %r9, %r8\n"
        "  movq 8(%rsp), %r9\n"
        "  syscall\n"
        ".hidden recorder_gate_end\n"
        ".globl recorder_gate_end\n"
        "recorder_gate_end:\n"
        "  ret\n"
        ".size recorder_gate, . - recorder_gate\n");

__attribute__((noreturn)) static void give_up(const char *why) {
    static const char prefix[] = "recorder: ";
    struct iovec text[3] = {{(void *)prefix, sizeof prefix - 1}, {(void *)why, strlen(why)}, {"\n", 1}};
    recorder_gate(SYS_writev, 2, (long)text, 3, 0, 0, 0);
    _exit(97);
}

/* Appends a record. Called with the lock held, or before there are threads. */
static void emit(struct header header, const char *path, const char *target, const struct iovec *data, int pieces) {
    struct iovec all[IOV_MAX];
    int used = 0;
    header.path_bytes = path ? strlen(path) : 0;
    header.target_bytes = target ? strlen(target) : 0;
    size_t length = sizeof header + header.path_bytes + header.target_bytes + header.bytes;
    all[used++] = (struct iovec){&header, sizeof header};
    if (path) all[used++] = (struct iovec){(void *)path, header.path_bytes};
    if (target) all[used++] = (struct iovec){(void *)target, header.target_bytes};
    size_t left = header.bytes;
    for (int piece = 0; piece < pieces && left > 0; piece++) {
        size_t taken = data[piece].iov_len < left ? data[piece].iov_len : left;
        if (taken == 0) continue;
        if (used == IOV_MAX) give_up("a write of too many pieces");
        all[used++] = (struct iovec){data[piece].iov_base, taken};
        left -= taken;
    }
    if (recorder_gate(SYS_writev, log_fd, (long)all, used, 0, 0, 0) != (long)length)
        give_up("the log could not be written");
}

static int below_root(const char *path) {
    return strncmp(path, root, root_bytes) == 0 && (path[root_bytes] == '/' || path[root_bytes] == 0);
}

/* The path of an open file, as it is now. Whether there is one, below the root. */
static int path_of(int fd, char path[PATH_MAX]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below_root(path);
}

/* The whole path of a name that need not exist: its folder without links, and its last part. Whether it is below
 * the root. */
static int resolve(int folder, const char *name, char path[PATH_MAX]) {
    char parent[PATH_MAX];
    size_t length = strlen(name);
    while (length > 1 && name[length - 1] == '/') length--;
    if (length == 0 || length >= PATH_MAX) return 0;
    size_t begin = length;
    while (begin > 0 && name[begin - 1] != '/') begin--;
    if (begin == 0) {
        strcpy(parent, ".");
    } else {
        memcpy(parent, name, begin);
        parent[begin] = 0;
    }
    long fd = recorder_gate(SYS_openat, folder, (long)parent, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, 0, 0);
    if (fd < 0) return 0;
    int below = path_of(fd, path);
    close(fd);
    size_t end = strlen(path);
    if (!below || end + 1 + (length - begin) >= PATH_MAX) return 0;
    path[end] = '/';
    memcpy(path + end + 1, name + begin, length - begin);
    path[end + 1 + length - begin] = 0;
    return 1;
}

static void not_understood(long number, const char *path) {
    emit((struct header){.kind = NOT_UNDERSTOOD, .at = number}, path, NULL, NULL, 0);
}

/* Whether it is a file of ours, and which. */
static int file_of_ours(int fd, struct stat *facts) {
    char path[PATH_MAX];
    return fstat(fd, facts) == 0 && S_ISREG(facts->st_mode) && path_of(fd, path);
}

static long opening(long number, long a, long b, long c, long d, int folder, const char *name, uint64_t flags) {
    if (!(flags & (O_CREAT | O_TRUNC))) return recorder_gate(number, a, b, c, d, 0, 0);
    struct stat before, after;
    char path[PATH_MAX];
    pthread_mutex_lock(&lock);
    int existed = fstatat(folder, name, &before, 0) == 0;
    long fd = recorder_gate(number, a, b, c, d, 0, 0);
    if (fd >= 0 && path_of(fd, path) && fstat(fd, &after) == 0 && S_ISREG(after.st_mode)) {
        if ((flags & O_TMPFILE) == O_TMPFILE)
            not_understood(number, path);
        else if (!existed)
            emit((struct header){.kind = CREATED, .inode = after.st_ino}, path, NULL, NULL, 0);
        else if ((flags & O_TRUNC) && before.st_size > 0)
            emit((struct header){.kind = RESIZED, .inode = after.st_ino, .at = 0}, NULL, NULL, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

/* `offset` is -1 for a write at the file's own position. */
static long writing(long number, long a, long b, long c, long d, long e, long f, const struct iovec *data, int pieces,
                    int64_t offset) {
    struct stat facts;
    if (!file_of_ours(a, &facts)) return recorder_gate(number, a, b, c, d, e, f);
    pthread_mutex_lock(&lock);
    long written = recorder_gate(number, a, b, c, d, e, f);
    if (written > 0) {
        uint64_t at = offset >= 0 ? (uint64_t)offset : (uint64_t)(lseek(a, 0, SEEK_CUR) - written);
        emit((struct header){.kind = WRITTEN, .inode = facts.st_ino, .at = at, .bytes = written}, NULL, NULL, data,
             pieces);
    }
    pthread_mutex_unlock(&lock);
    return written;
}

static long resizing(long number, long a, long b, const struct stat *facts) {
    pthread_mutex_lock(&lock);
    long result = recorder_gate(number, a, b, 0, 0, 0, 0);
    if (result == 0) emit((struct header){.kind = RESIZED, .inode = facts->st_ino, .at = b}, NULL, NULL, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

static long allocating(long number, long a, long b, long c, long d) {
    struct stat before, after;
    char path[PATH_MAX];
    if (!file_of_ours(a, &before)) return recorder_gate(number, a, b, c, d, 0, 0);
    pthread_mutex_lock(&lock);
    fstat(a, &before);
    long result = recorder_gate(number, a, b, c, d, 0, 0);
    if (result == 0 && b == 0 && fstat(a, &after) == 0) {
        if (after.st_size != before.st_size)
            emit((struct header){.kind = RESIZED, .inode = after.st_ino, .at = after.st_size}, NULL, NULL, NULL, 0);
    } else if (result == 0 && b != FALLOC_FL_KEEP_SIZE && path_of(a, path)) {
        not_understood(number, path);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static long syncing(long number, long a) {
    struct stat facts;
    char path[PATH_MAX];
    if (fstat(a, &facts) != 0 || !(S_ISREG(facts.st_mode) || S_ISDIR(facts.st_mode)) || !path_of(a, path))
        return recorder_gate(number, a, 0, 0, 0, 0, 0);
    struct header header = {.kind = SYNC_BEGUN, .inode = facts.st_ino, .data_only = number == SYS_fdatasync};
    pthread_mutex_lock(&lock);
    header.at = ++syncs;
    emit(header, NULL, NULL, NULL, 0);
    pthread_mutex_unlock(&lock);
    /* Not under the lock: syncs run beside each other and beside writes, as they would. */
    long result = recorder_gate(number, a, 0, 0, 0, 0, 0);
    if (result == 0) {
        header.kind = SYNC_DONE;
        pthread_mutex_lock(&lock);
        emit(header, NULL, NULL, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    return result;
}

static long renaming(long number, long a, long b, long c, long d, long e, int from, const char *name, int to,
                     const char *target, unsigned flags) {
    char path[PATH_MAX], target_path[PATH_MAX];
    struct stat facts;
    pthread_mutex_lock(&lock);
    int source_is_ours = resolve(from, name, path), target_is_ours = resolve(to, target, target_path);
    int known = fstatat(from, name, &facts, AT_SYMLINK_NOFOLLOW) == 0 &&
                (S_ISREG(facts.st_mode) || S_ISDIR(facts.st_mode));
    long result = recorder_gate(number, a, b, c, d, e, 0);
    if (result == 0 && (source_is_ours || target_is_ours)) {
        if (source_is_ours && target_is_ours && known && !(flags & ~RENAME_NOREPLACE))
            emit((struct header){.kind = RENAMED, .inode = facts.st_ino}, path, target_path, NULL, 0);
        else
            not_understood(number, source_is_ours ? path : target_path);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static long unlinking(long number, long a, long b, long c, int folder, const char *name, int flags) {
    char path[PATH_MAX];
    struct stat facts;
    pthread_mutex_lock(&lock);
    int ours = resolve(folder, name, path) && fstatat(folder, name, &facts, AT_SYMLINK_NOFOLLOW) == 0;
    long result = recorder_gate(number, a, b, c, 0, 0, 0);
    if (result == 0 && ours) {
        int directory = flags & AT_REMOVEDIR;
        /* A socket or a link is not a file that is recorded. */
        if (directory || S_ISREG(facts.st_mode))
            emit((struct header){.kind = directory ? FOLDER_REMOVED : UNLINKED, .inode = facts.st_ino}, path, NULL,
                 NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static long making_folder(long number, long a, long b, long c, int folder, const char *name) {
    char path[PATH_MAX];
    struct stat facts;
    pthread_mutex_lock(&lock);
    long result = recorder_gate(number, a, b, c, 0, 0, 0);
    if (result == 0 && resolve(folder, name, path) && fstatat(folder, name, &facts, AT_SYMLINK_NOFOLLOW) == 0)
        emit((struct header){.kind = FOLDER_MADE, .inode = facts.st_ino}, path, NULL, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

/* Links and the like: nothing that the daemon does. */
static long linking(long number, long a, long b, long c, long d, long e, int folder, const char *name) {
    char path[PATH_MAX];
    pthread_mutex_lock(&lock);
    long result = recorder_gate(number, a, b, c, d, e, 0);
    if (result == 0 && resolve(folder, name, path)) not_understood(number, path);
    pthread_mutex_unlock(&lock);
    return result;
}

/* Ways into a file past the calls above: shared mappings, and copies within the kernel. */
static long bypassing(long number, long a, long b, long c, long d, long e, long f, int into) {
    char path[PATH_MAX];
    struct stat facts;
    if (file_of_ours(into, &facts) && path_of(into, path)) {
        pthread_mutex_lock(&lock);
        not_understood(number, path);
        pthread_mutex_unlock(&lock);
    }
    return recorder_gate(number, a, b, c, d, e, f);
}

static long dispatch(long number, long a, long b, long c, long d, long e, long f) {
    struct stat facts;
    struct iovec one = {(void *)b, c};
    switch (number) {
    case SYS_open: return opening(number, a, b, c, 0, AT_FDCWD, (const char *)a, b);
    case SYS_creat: return opening(number, a, b, 0, 0, AT_FDCWD, (const char *)a, O_CREAT | O_TRUNC | O_WRONLY);
    case SYS_openat: return opening(number, a, b, c, d, a, (const char *)b, c);
    case SYS_openat2: return opening(number, a, b, c, d, a, (const char *)b, ((struct open_how *)c)->flags);
    case SYS_write: return writing(number, a, b, c, 0, 0, 0, &one, 1, -1);
    case SYS_pwrite64: return writing(number, a, b, c, d, 0, 0, &one, 1, d);
    case SYS_writev: return writing(number, a, b, c, 0, 0, 0, (struct iovec *)b, c, -1);
    case SYS_pwritev: return writing(number, a, b, c, d, e, 0, (struct iovec *)b, c, d);
    case SYS_pwritev2: return writing(number, a, b, c, d, e, f, (struct iovec *)b, c, d);
    case SYS_ftruncate:
        return file_of_ours(a, &facts) ? resizing(number, a, b, &facts) : recorder_gate(number, a, b, 0, 0, 0, 0);
    case SYS_truncate: {
        char path[PATH_MAX];
        int ours = resolve(AT_FDCWD, (const char *)a, path) && stat((const char *)a, &facts) == 0;
        return ours ? resizing(number, a, b, &facts) : recorder_gate(number, a, b, 0, 0, 0, 0);
    }
    case SYS_fallocate: return allocating(number, a, b, c, d);
    case SYS_fsync:
    case SYS_fdatasync: return syncing(number, a);
    case SYS_rename:
        return renaming(number, a, b, 0, 0, 0, AT_FDCWD, (const char *)a, AT_FDCWD, (const char *)b, 0);
    case SYS_renameat: return renaming(number, a, b, c, d, 0, a, (const char *)b, c, (const char *)d, 0);
    case SYS_renameat2: return renaming(number, a, b, c, d, e, a, (const char *)b, c, (const char *)d, e);
    case SYS_unlink: return unlinking(number, a, 0, 0, AT_FDCWD, (const char *)a, 0);
    case SYS_rmdir: return unlinking(number, a, 0, 0, AT_FDCWD, (const char *)a, AT_REMOVEDIR);
    case SYS_unlinkat: return unlinking(number, a, b, c, a, (const char *)b, c);
    case SYS_mkdir: return making_folder(number, a, b, 0, AT_FDCWD, (const char *)a);
    case SYS_mkdirat: return making_folder(number, a, b, c, a, (const char *)b);
    case SYS_link: return linking(number, a, b, 0, 0, 0, AT_FDCWD, (const char *)b);
    case SYS_linkat: return linking(number, a, b, c, d, e, c, (const char *)d);
    case SYS_symlink: return linking(number, a, b, 0, 0, 0, AT_FDCWD, (const char *)b);
    case SYS_symlinkat: return linking(number, a, b, c, 0, 0, b, (const char *)c);
    case SYS_mmap: return bypassing(number, a, b, c, d, e, f, e);
    case SYS_sendfile: return bypassing(number, a, b, c, d, e, f, a);
    case SYS_copy_file_range:
    case SYS_splice: return bypassing(number, a, b, c, d, e, f, c);
    case SYS_io_uring_setup:
        pthread_mutex_lock(&lock);
        not_understood(number, NULL);
        pthread_mutex_unlock(&lock);
        return recorder_gate(number, a, b, c, d, e, f);
    default: return recorder_gate(number, a, b, c, d, e, f);
    }
}

static void trapped(int signal, siginfo_t *info, void *context) {
    (void)signal;
    int before = errno;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    registers[REG_RAX] = dispatch(info->si_syscall, registers[REG_RDI], registers[REG_RSI], registers[REG_RDX],
                                  registers[REG_R10], registers[REG_R8], registers[REG_R9]);
    errno = before;
}

static const int CALLS[] = {
    SYS_open,     SYS_creat,    SYS_openat,   SYS_openat2,   SYS_write,     SYS_pwrite64,        SYS_writev,
    SYS_pwritev,  SYS_pwritev2, SYS_truncate, SYS_ftruncate, SYS_fallocate, SYS_fsync,           SYS_fdatasync,
    SYS_rename,   SYS_renameat, SYS_renameat2, SYS_unlink,   SYS_unlinkat,  SYS_rmdir,           SYS_mkdir,
    SYS_mkdirat,  SYS_link,     SYS_linkat,   SYS_symlink,   SYS_symlinkat, SYS_copy_file_range, SYS_sendfile,
    SYS_splice,   SYS_io_uring_setup,
};
enum { CALLS_COUNT = sizeof CALLS / sizeof CALLS[0], FILTER_MAX = CALLS_COUNT + 20 };

/* One more instruction of the filter. */
static struct sock_filter *then(struct sock_filter *at, uint16_t code, uint32_t value, int yes, int no) {
    *at = (struct sock_filter){code, yes, no, value};
    return at + 1;
}

static void install_filter(void) {
    struct sock_filter filter[FILTER_MAX], *at = filter;
    uint64_t gate = (uint64_t)recorder_gate_end;
    const uint16_t load = BPF_LD | BPF_W | BPF_ABS, equal = BPF_JMP | BPF_JEQ | BPF_K, any = BPF_JMP | BPF_JSET | BPF_K;
    const uint16_t answer = BPF_RET | BPF_K;
    at = then(at, load, offsetof(struct seccomp_data, arch), 0, 0);
    at = then(at, equal, AUDIT_ARCH_X86_64, 1, 0);
    at = then(at, answer, SECCOMP_RET_KILL_PROCESS, 0, 0);
    at = then(at, load, offsetof(struct seccomp_data, nr), 0, 0);
    for (int call = 0; call < CALLS_COUNT; call++)
        /* To the test of the address, past the other calls and the eight instructions about mappings. */
        at = then(at, equal, CALLS[call], CALLS_COUNT - 1 - call + 8, 0);
    at = then(at, equal, SYS_mmap, 0, 6);
    at = then(at, load, offsetof(struct seccomp_data, args[3]), 0, 0);
    at = then(at, any, MAP_ANONYMOUS, 4, 0);
    at = then(at, any, MAP_SHARED, 0, 3);
    at = then(at, load, offsetof(struct seccomp_data, args[2]), 0, 0);
    at = then(at, any, PROT_WRITE, 2, 0);
    at = then(at, answer, SECCOMP_RET_ALLOW, 0, 0);
    at = then(at, answer, SECCOMP_RET_ALLOW, 0, 0);
    at = then(at, load, offsetof(struct seccomp_data, instruction_pointer), 0, 0);
    at = then(at, equal, (uint32_t)gate, 0, 2);
    at = then(at, load, offsetof(struct seccomp_data, instruction_pointer) + 4, 0, 0);
    at = then(at, equal, (uint32_t)(gate >> 32), 1, 0);
    at = then(at, answer, SECCOMP_RET_TRAP, 0, 0);
    at = then(at, answer, SECCOMP_RET_ALLOW, 0, 0);
    struct sock_fprog program = {at - filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        give_up("the kernel takes no seccomp filter");
}

__attribute__((constructor)) static void start(void) {
    const char *log = getenv("DARKROOM_RECORDER_LOG"), *folder = getenv("DARKROOM_RECORDER_ROOT");
    if (!log || !folder || strlen(folder) >= sizeof root) give_up("no log or no root is named");
    strcpy(root, folder);
    root_bytes = strlen(root);
    log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) give_up("the log could not be opened");
    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
    /* A signal's own handler would be trapped in ours, where SIGSYS is blocked, and the kernel kills for that. */
    sigfillset(&action.sa_mask);
    if (sigaction(SIGSYS, &action, NULL) != 0) give_up("SIGSYS could not be handled");
    emit((struct header){.kind = STARTED}, root, NULL, NULL, 0);
    install_filter();
}
