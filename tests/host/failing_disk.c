/* Preloaded into a process: while the file $FAIL_FLAG exists, the calls named in it fail on files whose paths have
   $FAIL_PATH in them. The file says which and how: "sync 5" or "write 28" (numbers of errno). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int doomed(int fd, const char *call) {
    const char *flag = getenv("FAIL_FLAG"), *part = getenv("FAIL_PATH");
    char link[64], path[4096], named[16];
    int code = 0;
    FILE *file = flag && part ? fopen(flag, "re") : NULL;
    if (!file)
        return 0;
    int read = fscanf(file, "%15s %d", named, &code);
    fclose(file);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (read != 2 || length < 0 || strcmp(named, call))
        return 0;
    path[length] = 0;
    if (!strstr(path, part))
        return 0;
    errno = code;
    return 1;
}

#define NEXT(type, name, ...) ((type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

int fsync(int fd) { return doomed(fd, "sync") ? -1 : NEXT(int, fsync, int)(fd); }
int fdatasync(int fd) { return doomed(fd, "sync") ? -1 : NEXT(int, fdatasync, int)(fd); }
ssize_t write(int fd, const void *data, size_t size) {
    return doomed(fd, "write") ? -1 : NEXT(ssize_t, write, int, const void *, size_t)(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    return doomed(fd, "write") ? -1 : NEXT(ssize_t, pwrite, int, const void *, size_t, off_t)(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    return doomed(fd, "write") ? -1 : NEXT(ssize_t, pwrite64, int, const void *, size_t, off64_t)(fd, data, size, at);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    return doomed(fd, "write") ? -1 : NEXT(ssize_t, pwritev, int, const struct iovec *, int, off_t)(fd, parts, count, at);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
    return doomed(fd, "write") ? -1
                               : NEXT(ssize_t, pwritev64, int, const struct iovec *, int, off64_t)(fd, parts, count, at);
}
