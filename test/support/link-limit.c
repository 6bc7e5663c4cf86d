/*
 * For LD_PRELOAD: no file gets more than LINK_LIMIT links, as on a file system that knows such a limit. One link at a time, so that
 * nobody comes between the look and the link.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static int is_full(int directory, const char *path, int flags) {
  const char *limit = getenv("LINK_LIMIT");
  struct stat found;
  int follow = flags & AT_SYMLINK_FOLLOW ? 0 : AT_SYMLINK_NOFOLLOW;
  if (limit == NULL || fstatat(directory, path, &found, follow) != 0) return 0;
  return found.st_nlink >= strtoul(limit, NULL, 10);
}

int linkat(int from_directory, const char *from, int to_directory, const char *to, int flags) {
  int (*really)(int, const char *, int, const char *, int) = dlsym(RTLD_NEXT, "linkat");
  pthread_mutex_lock(&one_at_a_time);
  int full = is_full(from_directory, from, flags);
  int result = full ? -1 : really(from_directory, from, to_directory, to, flags);
  int error = full ? EMLINK : errno;
  pthread_mutex_unlock(&one_at_a_time);
  errno = error;
  return result;
}

int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
