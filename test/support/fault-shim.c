/*
 * For LD_PRELOAD: counts what a process does to the files below FAULT_BELOW, and at the Nth call that matches a pattern kills the
 * process (before or after the call) or fails the call with an errno, once or from then on. The control page in the file
 * FAULT_CONTROL says which; a test writes it while the process runs, and reads there what happened (faults.ts knows its layout).
 * It can also put the wall clock ahead; the monotonic clock stays.
 *
 * Node reaches the disk through these functions of libc, and copy_file_range by syscall(2); stat, access, readlink and reads are left
 * alone. Processes that it starts are not touched. UV_USE_IO_URING=0 keeps libuv from going around libc.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define LABEL_BYTES 1024
#define PATH_BYTES 4096

enum action { COUNT, KILL_BEFORE, KILL_AFTER, FAIL };

static struct control {
  _Atomic int32_t armed;
  int32_t at; /* the Nth matching call, from 1 */
  int32_t action;
  int32_t error;
  int32_t from_then_on;
  _Atomic int32_t calls; /* that matched since it was armed */
  _Atomic int32_t hits;
  int32_t trace; /* file descriptor, or 0 */
  int64_t clock_ahead; /* seconds */
  char padding[24];
  char pattern[448]; /* of the label, as fnmatch(3) takes it with FNM_EXTMATCH */
  char hit[512]; /* the label of the call that was hit first */
} *control;

static char below[PATH_BYTES];
static size_t below_bytes;

__attribute__((constructor)) static void begin(void) {
  const char *file = getenv("FAULT_CONTROL"), *directory = getenv("FAULT_BELOW"), *trace = getenv("FAULT_TRACE");
  unsetenv("LD_PRELOAD");
  if (file == NULL || directory == NULL) return;
  int fd = open(file, O_RDWR | O_CLOEXEC);
  void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (page == MAP_FAILED) abort();
  close(fd);
  below_bytes = (size_t)snprintf(below, sizeof below, "%s/", directory);
  control = page;
  control->trace = trace == NULL ? 0 : open(trace, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* What `link` of /proc leads to, with `rest` behind it. */
static int followed(const char *link, const char *rest, char *found) {
  ssize_t bytes = readlink(link, found, PATH_BYTES - 1);
  if (bytes < 0) return 0;
  snprintf(found + bytes, PATH_BYTES - (size_t)bytes, "%s%s", *rest == 0 || *rest == '/' ? "" : "/", rest);
  return 1;
}

/* The path from the top; workers name files by a directory's descriptor (/proc/self/fd/N/name) or from the working directory. */
static int absolute(int directory, const char *path, char *found) {
  static const char by_descriptor[] = "/proc/self/fd/";
  char link[64];
  if (strncmp(path, by_descriptor, sizeof by_descriptor - 1) == 0) {
    char *rest;
    long fd = strtol(path + sizeof by_descriptor - 1, &rest, 10);
    snprintf(link, sizeof link, "/proc/self/fd/%ld", fd);
    return followed(link, rest, found);
  }
  if (*path == '/') return snprintf(found, PATH_BYTES, "%s", path) > 0;
  if (directory == AT_FDCWD) return followed("/proc/self/cwd", path, found);
  snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
  return followed(link, path, found);
}

/* The path below the directory that is watched; NULL where it is not there. "." is the directory itself. */
static const char *watched(int directory, const char *path, char *found) {
  if (path == NULL || !absolute(directory, path, found)) return NULL;
  if (strncmp(found, below, below_bytes) == 0) return found + below_bytes;
  return strlen(found) + 1 == below_bytes && strncmp(found, below, below_bytes - 1) == 0 ? "." : NULL;
}

static void traced(int number, const char *label) {
  char line[LABEL_BYTES + 64];
  if (control->trace <= 0) return;
  int bytes = snprintf(line, sizeof line, "%d %s\n", number, label);
  syscall(SYS_write, control->trace, line, (size_t)bytes);
}

/* What is to happen at this call: COUNT where nothing. */
static enum action judged(const char *label) {
  if (control->pattern[0] != 0 && fnmatch(control->pattern, label, FNM_EXTMATCH) != 0) return COUNT;
  int number = atomic_fetch_add(&control->calls, 1) + 1;
  traced(number, label);
  if (control->action == COUNT || number < control->at) return COUNT;
  if (number > control->at && !control->from_then_on) return COUNT;
  if (atomic_fetch_add(&control->hits, 1) == 0) snprintf(control->hit, sizeof control->hit, "%.511s", label);
  if (control->action == KILL_BEFORE) kill(getpid(), SIGKILL);
  return control->action;
}

/* `to` and `to_directory` only where the call has two paths; the label is `OPERATION PATH` or `OPERATION FROM TO`. */
static enum action at_paths(const char *operation, int directory, const char *path, int to_directory, const char *to) {
  char found[PATH_BYTES], found_to[PATH_BYTES], label[LABEL_BYTES];
  int error = errno;
  enum action action = COUNT;
  if (control != NULL && atomic_load(&control->armed)) {
    const char *name = watched(directory, path, found);
    const char *name_to = to == NULL ? NULL : watched(to_directory, to, found_to);
    if (name != NULL || name_to != NULL) {
      const char *second = name_to != NULL ? name_to : to != NULL ? to : "";
      snprintf(label, sizeof label, "%s %s%s%s", operation, name ? name : path, *second ? " " : "", second);
      action = judged(label);
    }
  }
  errno = error;
  return action;
}

static enum action at_path(const char *operation, int directory, const char *path) {
  return at_paths(operation, directory, path, 0, NULL);
}

static enum action at_descriptor(const char *operation, int fd) {
  char link[64];
  if (control == NULL || !atomic_load(&control->armed)) return COUNT;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  return at_path(operation, AT_FDCWD, link);
}

/* The call itself, unless it is to fail. */
#define AROUND(type, judgement, call)                             \
  do {                                                            \
    enum action todo = judgement;                                 \
    if (todo == FAIL) return errno = control->error, (type) - 1;  \
    type result = call;                                           \
    if (todo == KILL_AFTER) kill(getpid(), SIGKILL);              \
    return result;                                                \
  } while (0)

/* Looked up once: dlsym takes the loader's lock, and a child between fork and exec would wait for ever for who held it. */
#define NEXT(name)                                                       \
  (__extension__({                                                       \
    static __typeof__(&name) next;                                       \
    if (next == NULL) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
    next;                                                                \
  }))

/* One that takes a path (or a descriptor, or two paths) and says -1 where it fails. */
#define BY_PATH(name, operation, path, parameters, ...) \
  EXPORT int name parameters { AROUND(int, at_path(operation, AT_FDCWD, path), NEXT(name)(__VA_ARGS__)); }
#define BY_DESCRIPTOR(type, name, parameters, ...) \
  EXPORT type name parameters { AROUND(type, at_descriptor(#name, fd), NEXT(name)(__VA_ARGS__)); }

static const char *opening(int flags) { return flags & O_CREAT ? "create" : "open"; }

static mode_t mode_of(int flags, va_list arguments) { return flags & O_CREAT ? va_arg(arguments, mode_t) : 0; }

#define OPEN(name, parameters, directory, ...)                                              \
  EXPORT int name parameters {                                                              \
    va_list arguments;                                                                      \
    va_start(arguments, flags);                                                             \
    mode_t mode = mode_of(flags, arguments);                                                \
    va_end(arguments);                                                                      \
    AROUND(int, at_path(opening(flags), directory, path), NEXT(name)(__VA_ARGS__, flags, mode)); \
  }
OPEN(open, (const char *path, int flags, ...), AT_FDCWD, path)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD, path)
OPEN(openat, (int directory, const char *path, int flags, ...), directory, directory, path)
OPEN(openat64, (int directory, const char *path, int flags, ...), directory, directory, path)

BY_PATH(mkdir, "mkdir", path, (const char *path, mode_t mode), path, mode)
BY_PATH(rmdir, "rmdir", path, (const char *path), path)
BY_PATH(unlink, "unlink", path, (const char *path), path)
BY_PATH(chmod, "chmod", path, (const char *path, mode_t mode), path, mode)
BY_PATH(symlink, "symlink", path, (const char *target, const char *path), target, path)

EXPORT int unlinkat(int directory, const char *path, int flags) {
  const char *operation = flags & AT_REMOVEDIR ? "rmdir" : "unlink";
  AROUND(int, at_path(operation, directory, path), NEXT(unlinkat)(directory, path, flags));
}

EXPORT int utimensat(int directory, const char *path, const struct timespec times[2], int flags) {
  AROUND(int, at_path("utimes", directory, path), NEXT(utimensat)(directory, path, times, flags));
}

EXPORT int rename(const char *from, const char *to) {
  AROUND(int, at_paths("rename", AT_FDCWD, from, AT_FDCWD, to), NEXT(rename)(from, to));
}

EXPORT int link(const char *from, const char *to) {
  AROUND(int, at_paths("link", AT_FDCWD, from, AT_FDCWD, to), NEXT(link)(from, to));
}

BY_DESCRIPTOR(ssize_t, write, (int fd, const void *bytes, size_t count), fd, bytes, count)
BY_DESCRIPTOR(ssize_t, writev, (int fd, const struct iovec *pieces, int count), fd, pieces, count)
BY_DESCRIPTOR(ssize_t, pwrite64, (int fd, const void *bytes, size_t count, off64_t at), fd, bytes, count, at)
BY_DESCRIPTOR(ssize_t, pwritev64, (int fd, const struct iovec *pieces, int count, off64_t at), fd, pieces, count, at)
BY_DESCRIPTOR(int, fsync, (int fd), fd)
BY_DESCRIPTOR(int, fdatasync, (int fd), fd)
BY_DESCRIPTOR(int, ftruncate64, (int fd, off64_t bytes), fd, bytes)
BY_DESCRIPTOR(int, fchmod, (int fd, mode_t mode), fd, mode)
BY_DESCRIPTOR(int, futimens, (int fd, const struct timespec times[2]), fd, times)

EXPORT int scandir64(const char *path, struct dirent64 ***names, int (*wanted)(const struct dirent64 *),
                     int (*order)(const struct dirent64 **, const struct dirent64 **)) {
  AROUND(int, at_path("readdir", AT_FDCWD, path), NEXT(scandir64)(path, names, wanted, order));
}

EXPORT DIR *opendir(const char *path) {
  if (at_path("readdir", AT_FDCWD, path) == FAIL) return errno = control->error, NULL;
  return NEXT(opendir)(path);
}

EXPORT long syscall(long number, ...) {
  long a[6];
  va_list arguments;
  va_start(arguments, number);
  for (int i = 0; i < 6; i += 1) a[i] = va_arg(arguments, long);
  va_end(arguments);
  enum action action = number == SYS_copy_file_range ? at_descriptor("copy", (int)a[2]) : COUNT;
  AROUND(long, action, NEXT(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]));
}

static int64_t ahead(void) { return control == NULL ? 0 : control->clock_ahead; }

EXPORT int clock_gettime(clockid_t clock, struct timespec *now) {
  int result = NEXT(clock_gettime)(clock, now);
  if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += ahead();
  return result;
}

EXPORT int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  int result = NEXT(gettimeofday)(now, zone);
  now->tv_sec += ahead();
  return result;
}

EXPORT time_t time(time_t *into) {
  time_t now = NEXT(time)(NULL) + ahead();
  if (into != NULL) *into = now;
  return now;
}
