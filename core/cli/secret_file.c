/* SPDX-License-Identifier: BSD-3-Clause */
#include "secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "secret.h"
#include "text.h"

#define SECRET_MAX 65536
#define DAEMON_USER "tailplane"

static int file_open(const char *path, bool secret, struct err *err)
{
	struct stat st;

	if (strcmp(path, "-") == 0)
		return dup(STDIN_FILENO);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	if (secret && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077)) {
		close(fd);
		return err_set(err, -EPERM,
			"%s holds a secret, yet others can read it (mode %04o): chmod 600 %s", path,
			(unsigned)(st.st_mode & 07777), path);
	}
	return fd;
}

/* Reads to the end. Grows by new memory, so that what is left behind can be zeroed. */
static char *read_all(int fd, size_t limit, size_t *len, int *error)
{
	size_t size = 8192;
	char *text = text_alloc(size, 1);

	*len = 0;
	for (;;) {
		ssize_t n = read(fd, text + *len, size - 1 - *len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			*error = n < 0 ? errno : 0;
			break;
		}
		*len += (size_t)n;
		if (*len > limit) {
			*error = EFBIG;
			break;
		}
		if (*len == size - 1) {
			char *longer = text_alloc(size * 2, 1);

			memcpy(longer, text, *len);
			secret_file_release(text, *len);
			text = longer;
			size *= 2;
		}
	}
	text[*len] = '\0';
	return text;
}

static char *read_file(const char *path, bool secret, size_t limit, size_t *len, struct err *err)
{
	int error, fd = file_open(path, secret, err);

	if (fd < 0) {
		err_set(err, -errno, "%s: %s", path, strerror(errno));
		return NULL;
	}
	char *text = read_all(fd, limit, len, &error);

	close(fd);
	if (error != 0) {
		err_set(err, -error, "%s: %s", path, strerror(error));
		secret_file_release(text, *len);
		return NULL;
	}
	return text;
}

char *file_read(const char *path, size_t limit, size_t *len, struct err *err)
{
	return read_file(path, false, limit, len, err);
}

void secret_file_release(char *text, size_t len)
{
	secret_zero(text, len);
	free(text);
}

json_t *secret_file_read(const char *path, struct err *err)
{
	size_t len, used;
	char *text = read_file(path, true, SECRET_MAX, &len, err);

	if (text == NULL)
		return NULL;
	for (used = len; used > 0 && strchr("\r\n", text[used - 1]) != NULL;)
		used--;
	json_t *secret = memchr(text, '\0', used) == NULL ? json_stringn(text, used) : NULL;

	secret_file_release(text, len);
	if (secret == NULL)
		err_set(err, -EINVAL, "%s: this is no text", path);
	return secret;
}

/* Is the file what we would write? Then a second run of the same command is no mistake. */
static bool holds(const char *path, const char *text)
{
	struct err ignored = {0};
	json_t *there = secret_file_read(path, &ignored);
	size_t len = strlen(text);
	bool same = there != NULL && json_string_length(there) == len &&
		    secret_equal(json_string_value(there), text, len);

	json_decref(there);
	return same;
}

static int give_to_daemon(int fd)
{
	const struct passwd *user = geteuid() == 0 ? getpwnam(DAEMON_USER) : NULL;

	return user != NULL ? fchown(fd, user->pw_uid, user->pw_gid) : 0;
}

int secret_file_write(const char *path, const char *text, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 && errno == EEXIST && holds(path, text))
		return 0;
	if (fd < 0 && errno == EEXIST)
		return err_set(err, -EEXIST, "%s is there already, and is not replaced: %s", path,
			"it may be the only copy of a key");
	if (fd < 0)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	bool done = dprintf(fd, "%s\n", text) >= 0 && fsync(fd) == 0 && give_to_daemon(fd) == 0;
	int error = errno;

	done = close(fd) == 0 && done;
	if (done)
		return 0;
	unlink(path);
	return err_set(err, -error, "%s: %s", path, strerror(error));
}
