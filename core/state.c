/* SPDX-License-Identifier: BSD-3-Clause */
/* Files of the state directory. Runs on: the control loop before it runs, and jobs;
 * state_write_later on the control loop. */
#include <tailplane/state.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <tailplane/jobs.h>
#include <tailplane/log.h>

#include "state_dirs.h"
#include "state_owner.h"

struct write_job {
	struct job job;
	char *path;
	void *buf;
	size_t len;
	mode_t mode;
	int error;
	struct err err;
	void (*done)(void *arg, int error, const struct err *err);
	void *arg;
};

char *state_path(const char *path)
{
	char *out;

	if (path[0] == '/')
		out = strdup(path);
	else if (asprintf(&out, "%s/%s", core_state_dir(), path) < 0)
		out = NULL;
	if (!out)
		abort(); /* a path's worth of memory */
	return out;
}

/* ---- reading ---- */

bool state_file_same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static ssize_t read_all(int fd, const char *path, void *buf, size_t size, struct err *err)
{
	size_t got = 0;
	char beyond;

	while (got < size) {
		ssize_t n = read(fd, (char *)buf + got, size - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(err, -errno, "%s: %s", path, strerror(errno));
		if (n == 0)
			return (ssize_t)got;
		got += (size_t)n;
	}
	if (read(fd, &beyond, 1) == 1)
		return err_set(err, -EFBIG, "%s: longer than %zu bytes", path, size);
	return (ssize_t)got;
}

static int explain_open(const char *path, int error, struct err *err)
{
	if (error == EACCES && geteuid() != 0)
		return err_set(err, -error,
			"%s: the daemon, as user %u, may not read it: chown %u %s", path, geteuid(),
			geteuid(), path);
	return err_set(err, -error, "%s: %s", path, strerror(error));
}

static int open_regular(const char *path, struct stat *st, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return explain_open(path, errno, err);
	if (fstat(fd, st) != 0 || !S_ISREG(st->st_mode)) {
		close(fd);
		return err_set(err, -EINVAL, "%s: not a regular file", path);
	}
	return fd;
}

static ssize_t read_file(const char *name, void *buf, size_t size, mode_t refused, struct err *err)
{
	char *path = state_path(name);
	struct stat st;
	int fd = open_regular(path, &st, err);
	ssize_t n = fd;

	if (fd >= 0 && (st.st_mode & refused))
		n = err_set(err, -EPERM,
			"%s: it holds a secret and others than its owner can read it: chmod 600 %s",
			path, path);
	else if (fd >= 0)
		n = read_all(fd, path, buf, size, err);
	if (fd >= 0)
		close(fd);
	free(path);
	return n;
}

ssize_t state_read_secret(const char *path, void *buf, size_t size, struct err *err)
{
	ssize_t n = read_file(path, buf, size, 077, err);

	if (n < 0)
		explicit_bzero(buf, size);
	return n;
}

ssize_t state_read(const char *path, void *buf, size_t size, struct err *err)
{
	return read_file(path, buf, size, 0, err);
}

/* ---- writing ---- */

static int write_content(int fd, const void *buf, size_t len)
{
	const char *at = buf;

	while (len) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
	}
	return fsync(fd) == 0 ? 0 : -errno;
}

static int sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd) != 0)
		rc = -errno;
	close(fd);
	return rc;
}

/* Missing folders of a file inside the state directory. */
static int make_parents(char *path)
{
	size_t len = strlen(core_state_dir());
	int rc = 0;

	if (strncmp(path, core_state_dir(), len) != 0 || path[len] != '/')
		return 0;
	for (char *slash = strchr(path + len + 1, '/'); slash && !rc;
		slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0700) == 0)
			rc = state_hand_over(AT_FDCWD, path);
		else if (errno != EEXIST)
			rc = -errno;
		*slash = '/';
	}
	return rc;
}

static int write_beside(const char *temp, const void *buf, size_t len, mode_t mode)
{
	int fd, rc;

	/* what a killed process left: its mode may not be ours */
	if (unlink(temp) != 0 && errno != ENOENT)
		return -errno;
	fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	rc = write_content(fd, buf, len);
	if (!rc && fchmod(fd, mode) != 0)
		rc = -errno;
	if (!rc)
		rc = state_hand_over(fd, NULL);
	if (close(fd) != 0 && !rc)
		rc = -errno;
	return rc;
}

static int replace(char *path, const void *buf, size_t len, mode_t mode)
{
	char *temp, *slash = strrchr(path, '/');
	int rc = make_parents(path);

	if (rc)
		return rc;
	*slash = '\0';
	if (asprintf(&temp, "%s/.%s.new", path, slash + 1) < 0)
		abort();
	*slash = '/';
	rc = write_beside(temp, buf, len, mode);
	if (!rc && rename(temp, path) != 0)
		rc = -errno;
	if (rc) {
		unlink(temp);
	} else {
		*slash = '\0';
		rc = sync_dir(slash == path ? "/" : path);
		*slash = '/';
	}
	free(temp);
	return rc;
}

int state_write(const char *name, const void *buf, size_t len, mode_t mode, struct err *err)
{
	char *path = state_path(name);
	int rc = replace(path, buf, len, mode);

	if (rc)
		err_set(err, rc, "cannot write %s: %s", path, strerror(-rc));
	free(path);
	return rc;
}

static void write_run(struct job *job)
{
	struct write_job *w = (struct write_job *)job;

	w->error = state_write(w->path, w->buf, w->len, w->mode, &w->err);
}

static void write_done(struct job *job)
{
	struct write_job *w = (struct write_job *)job;

	if (w->done)
		w->done(w->arg, w->error, &w->err);
	else if (w->error)
		log_warnx("%s", w->err.msg);
	explicit_bzero(w->buf, w->len);
	free(w->buf);
	free(w->path);
	free(w);
}

/* Equal paths share a lane; that other paths may too costs only time. */
static uint64_t lane_of(const char *path)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (; *path; path++)
		hash = (hash ^ (unsigned char)*path) * 0x100000001b3u;
	return hash | 1;
}

void state_write_later(const char *path, const void *buf, size_t len, mode_t mode,
	void (*done)(void *arg, int error, const struct err *err), void *arg)
{
	struct write_job *w = calloc(1, sizeof(*w));
	void *copy = malloc(len ? len : 1);

	if (!w || !copy)
		abort(); /* the state would be lost in silence */
	memcpy(copy, buf, len);
	*w = (struct write_job){
		.job = {.run = write_run, .done = write_done, .name = "state_write"},
		.path = state_path(path),
		.buf = copy,
		.len = len,
		.mode = mode,
		.done = done,
		.arg = arg,
	};
	w->job.lane = lane_of(w->path);
	job_submit(&w->job);
}
