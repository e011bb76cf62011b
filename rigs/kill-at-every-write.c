/* Loaded before a program, kills it (as a dead battery would) just before its N-th write to a file whose path contains
 * KILL_PATH. Usage: KILL_PATH=/phone KILL_AT=N LD_PRELOAD=./kill.so program */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int count_down(int fd) {
    static long left = -1;
    static const char *path = NULL;
    if (left == -1) {
        const char *at = getenv("KILL_AT");
        path = getenv("KILL_PATH");
        left = at && path ? atol(at) : 0;
    }
    if (left <= 0) return 0;
    char link[64], name[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, name, sizeof name - 1);
    if (n <= 0) return 0;
    name[n] = 0;
    if (!strstr(name, path)) return 0;
    if (--left == 0) kill(getpid(), SIGKILL);
    return 0;
}

#define BEFORE(type, name, args, call)                              \
    type name args {                                                \
        static type(*real) args;                                    \
        if (!real) real = (type(*) args)dlsym(RTLD_NEXT, #name);    \
        count_down(fd);                                             \
        return real call;                                           \
    }

BEFORE(ssize_t, write, (int fd, const void *b, size_t n), (fd, b, n))
BEFORE(ssize_t, pwrite, (int fd, const void *b, size_t n, off_t o), (fd, b, n, o))
BEFORE(ssize_t, pwrite64, (int fd, const void *b, size_t n, off64_t o), (fd, b, n, o))
BEFORE(int, fsync, (int fd), (fd))
BEFORE(int, fdatasync, (int fd), (fd))
BEFORE(int, ftruncate, (int fd, off_t n), (fd, n))
BEFORE(int, ftruncate64, (int fd, off64_t n), (fd, n))
