// Loaded into a node's process: while the file named by SLOW_DISK_WHILE is there, each sync to disk takes 200 ms longer. A sync is fdatasync, or a write to a file opened with O_DSYNC.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static const char *file;

__attribute__((constructor)) static void start(void) { file = getenv("SLOW_DISK_WHILE"); }

static void wait_while_slow(void) {
  struct timespec delay = {0, 200 * 1000 * 1000};
  if (file != NULL && access(file, F_OK) == 0) nanosleep(&delay, NULL);
}

static void wait_if_synced(int fd) {
  int flags = fcntl(fd, F_GETFL);
  if (flags != -1 && (flags & O_DSYNC)) wait_while_slow();
}

int fdatasync(int fd) {
  int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
  wait_while_slow();
  return real(fd);
}


ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
  wait_if_synced(fd);
  return ((ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite"))(fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
  wait_if_synced(fd);
  return ((ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64"))(fd, bytes, count, offset);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
  wait_if_synced(fd);
  return ((ssize_t(*)(int, const struct iovec *, int, off_t))dlsym(RTLD_NEXT, "pwritev"))(fd, parts, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
  wait_if_synced(fd);
  return ((ssize_t(*)(int, const struct iovec *, int, off64_t))dlsym(RTLD_NEXT, "pwritev64"))(fd, parts, count, offset);
}
