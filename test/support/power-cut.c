/*
 * For LD_PRELOAD: another boot of the machine, and a death at a chosen moment. With BOOT_ID_FILE the kernel's boot id is read from there;
 * with KILL_AT=N the process kills itself when it is about to rename or remove something for the Nth time. What every start does alike (it
 * takes the lock, tries out the file system, makes its sockets) does not count.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_long changes;

static void change(const char *path) {
  const char *at = getenv("KILL_AT");
  if (strstr(path, "/lock") != NULL || strstr(path, "probe") != NULL || strstr(path, "/run/") != NULL) return;
  if (at != NULL && atomic_fetch_add(&changes, 1) + 1 == atol(at)) kill(getpid(), SIGKILL);
}

#define CHANGE(declaration, name, first, ...) \
  declaration { \
    change(first); \
    return ((typeof(&name))dlsym(RTLD_NEXT, #name))(first __VA_OPT__(, ) __VA_ARGS__); \
  }
CHANGE(int rename(const char *from, const char *to), rename, from, to)
CHANGE(int unlink(const char *path), unlink, path)
CHANGE(int rmdir(const char *path), rmdir, path)

static const char *seen(const char *path) {
  const char *file = getenv("BOOT_ID_FILE");
  return file != NULL && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0 ? file : path;
}

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    va_list arguments; \
    va_start(arguments, flags); \
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0; \
    va_end(arguments); \
    return ((typeof(&name))dlsym(RTLD_NEXT, #name))(seen(path), flags, mode); \
  }
OPEN(open)
OPEN(open64)
