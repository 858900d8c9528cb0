/* A stand-in for nbdkit's VDDK plugin in tests: takes the same parameters, insists on what the real one needs, and serves a
 * raw disk. It holds nothing of VMware's. All that a test wants of it lies in the folder that `libdir` names:
 *
 *   password   what the password has to be
 *   disk       the disk; without it, `fetch SERVER PORT VM SNAPSHOT FILE OUT` is run at each open, and writes it to OUT
 *   mode       what goes wrong, one word: `stuck` (it never gets ready), `die` (it dies at a read), `hang` (a read never ends),
 *              `slow` (a read takes half a second), `trip` (the first read fails), `broken` (it ends before it serves),
 *              `unloadable`, `incomplete` (the library is none, or not all of one)
 *   log        what it was given: a line `key=value` for each parameter, of the password only `right` or `wrong` and how it came;
 *              then `open`, `read` and `close`
 */
#define NBDKIT_API_VERSION 2
#define _GNU_SOURCE
#include <nbdkit-plugin.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREAD_MODEL NBDKIT_THREAD_MODEL_SERIALIZE_ALL_REQUESTS
#define CHUNK 65536

enum { FILE_, LIBDIR, SERVER, PORT, USER, THUMBPRINT, VM, SNAPSHOT, TRANSPORTS, COMPRESSION, KEYS };
static const char *names[KEYS] = { "file",       "libdir", "server",   "port",       "user",
                                   "thumbprint", "vm",     "snapshot", "transports", "compression" };
static const char *values[KEYS];
static char *password;
static const char *came = "as it is"; /* how the password came */

static char *
in_libdir (const char *name)
{
  static __thread char path[PATH_MAX];
  snprintf (path, sizeof path, "%s/%s", values[LIBDIR], name);
  return path;
}

static void
note (const char *format, ...)
{
  FILE *log = fopen (in_libdir ("log"), "a");
  va_list arguments;
  if (log == NULL)
    return;
  va_start (arguments, format);
  vfprintf (log, format, arguments);
  va_end (arguments);
  fputc ('\n', log);
  fclose (log);
}

/* The first word of a file in the folder, or nothing. */
static const char *
word (const char *name)
{
  static __thread char text[256];
  FILE *file = fopen (in_libdir (name), "r");
  text[0] = '\0';
  if (file != NULL) {
    if (fgets (text, sizeof text, file) == NULL)
      text[0] = '\0';
    fclose (file);
  }
  text[strcspn (text, "\n")] = '\0';
  return text;
}

static int
stand_in_config (const char *key, const char *value)
{
  for (int i = 0; i < KEYS; i++)
    if (strcmp (key, names[i]) == 0) {
      values[i] = value;
      return 0;
    }
  if (strcmp (key, "password") == 0) {
    struct stat found;
    if (value[0] == '+' && stat (value + 1, &found) == 0)
      came = (found.st_mode & 0777) == 0600 ? "in a private file" : "in an open file";
    return nbdkit_read_password (value, &password);
  }
  nbdkit_error ("unknown parameter '%s'", key);
  return -1;
}

static int
stand_in_config_complete (void)
{
  static const int needed[] = { FILE_, LIBDIR, SERVER, USER, THUMBPRINT, VM, SNAPSHOT };
  for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
    if (values[needed[i]] == NULL) {
      nbdkit_error ("remote connection requested, missing parameter: %s", names[needed[i]]);
      return -1;
    }
  if (password == NULL) {
    nbdkit_error ("remote connection requested, missing parameter: password");
    return -1;
  }
  for (int i = 0; i < KEYS; i++)
    if (values[i] != NULL)
      note ("%s=%s", names[i], values[i]);
  note ("password=%s, %s", strcmp (password, word ("password")) == 0 ? "right" : "wrong", came);
  return 0;
}

static int
stand_in_get_ready (void)
{
  while (strcmp (word ("mode"), "stuck") == 0)
    sleep (1);
  if (strcmp (word ("mode"), "broken") == 0) {
    nbdkit_error ("VixDiskLib_InitEx: a library is missing");
    return -1;
  }
  return 0;
}

static void
stand_in_dump_plugin (void)
{
  printf ("vddk_has_nfchostport=1\n");
  if (values[LIBDIR] == NULL || strcmp (word ("mode"), "unloadable") == 0)
    return;
  if (strcmp (word ("mode"), "incomplete") == 0) {
    nbdkit_error ("required VDDK symbol is missing");
    exit (EXIT_FAILURE);
  }
  printf ("vddk_library_version=8\n");
}

/* Where there is no disk, asks for it, and keeps it for as long as it is open. */
static int
fetch (void)
{
  char script[PATH_MAX], out[PATH_MAX];
  snprintf (script, sizeof script, "%s", in_libdir ("fetch"));
  snprintf (out, sizeof out, "%s/fetched-%d", values[LIBDIR], getpid ());
  pid_t child = fork ();
  if (child == 0) {
    execl (script, script, values[SERVER], values[PORT] ? values[PORT] : "443", values[VM], values[SNAPSHOT],
           values[FILE_], out, (char *) NULL);
    _exit (127);
  }
  int status = -1;
  if (child == -1 || waitpid (child, &status, 0) == -1 || status != 0) {
    nbdkit_error ("VixDiskLib_Open: %s: The file is not there", values[FILE_]);
    return -1;
  }
  int fd = open (out, O_RDONLY | O_CLOEXEC);
  unlink (out);
  return fd;
}

static void *
stand_in_open (int readonly)
{
  note ("open readonly=%d", readonly);
  if (strcmp (password, word ("password")) != 0) {
    nbdkit_error ("VixDiskLib_ConnectEx: Cannot complete login due to an incorrect user name or password");
    return NULL;
  }
  int *fd = malloc (sizeof *fd);
  if (fd == NULL)
    return NULL;
  *fd = open (in_libdir ("disk"), O_RDONLY | O_CLOEXEC);
  if (*fd == -1)
    *fd = fetch ();
  if (*fd == -1) {
    free (fd);
    return NULL;
  }
  return fd;
}

static void
stand_in_close (void *handle)
{
  note ("close");
  close (*(int *) handle);
  free (handle);
}

static int64_t
stand_in_get_size (void *handle)
{
  struct stat found;
  return fstat (*(int *) handle, &found) == -1 ? -1 : found.st_size;
}

static int
all_of (int fd, void *buffer, uint32_t count, uint64_t offset)
{
  for (char *to = buffer; count > 0;) {
    ssize_t got = pread (fd, to, count, offset);
    if (got <= 0) {
      nbdkit_error ("VixDiskLib_Read: %s", got == 0 ? "the end of the disk" : strerror (errno));
      return -1;
    }
    to += got, count -= got, offset += got;
  }
  return 0;
}

static int
stand_in_pread (void *handle, void *buffer, uint32_t count, uint64_t offset, uint32_t flags)
{
  const char *mode = word ("mode");
  note ("read %u at %lu", count, (unsigned long) offset);
  if (strcmp (mode, "die") == 0) {
    fprintf (stderr, "nbdkit: vddk: error: NfcFssrvr: the library gives up, %s\n", password);
    fflush (stderr);
    _exit (3);
  }
  static int has_tripped;
  if (strcmp (mode, "trip") == 0 && !has_tripped) {
    has_tripped = 1;
    nbdkit_error ("VixDiskLib_Read: NFC error 5: failed to allocate");
    nbdkit_set_error (EIO);
    return -1;
  }
  if (strcmp (mode, "slow") == 0)
    usleep (500000);
  while (strcmp (mode, "hang") == 0)
    sleep (1);
  if (count % 512 != 0 || offset % 512 != 0) {
    nbdkit_error ("read is not aligned to sectors");
    nbdkit_set_error (EINVAL);
    return -1;
  }
  return all_of (*(int *) handle, buffer, count, offset);
}

/* What of the disk is in use, by pieces, as QueryAllocatedBlocks tells it. */
static int
stand_in_extents (void *handle, uint32_t count, uint64_t offset, uint32_t flags, struct nbdkit_extents *extents)
{
  static const char zeroes[CHUNK];
  uint64_t size = stand_in_get_size (handle), end = offset + count;
  for (uint64_t at = offset / CHUNK * CHUNK; at < end; at += CHUNK) {
    char piece[CHUNK];
    uint32_t length = size - at < CHUNK ? size - at : CHUNK;
    if (all_of (*(int *) handle, piece, length, at) == -1)
      return -1;
    int is_zero = memcmp (piece, zeroes, length) == 0;
    if (nbdkit_add_extent (extents, at, length, is_zero ? NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO : 0) == -1)
      return -1;
  }
  return 0;
}

static struct nbdkit_plugin plugin = {
  .name = "vddk",
  .longname = "Stand-in for the VDDK plugin in tests",
  .config = stand_in_config,
  .config_complete = stand_in_config_complete,
  .magic_config_key = "file",
  .dump_plugin = stand_in_dump_plugin,
  .get_ready = stand_in_get_ready,
  .open = stand_in_open,
  .close = stand_in_close,
  .get_size = stand_in_get_size,
  .pread = stand_in_pread,
  .extents = stand_in_extents,
};

NBDKIT_REGISTER_PLUGIN (plugin)
