/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The operations `backup` and `restore`.
 *
 * A backup is taken in a job while everything runs. A restore first proves the file in a job, on a
 * copy of its own; only then do the plugins that keep tables stop, the files change places, and the
 * plugins start again. When they cannot, what was there before is put back.
 *
 * Runs on: the control loop, but for what is marked as a job.
 */
#include "store_backup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <tailplane/jobs.h>
#include <tailplane/log.h>
#include <tailplane/state.h>

#include "arena.h"
#include "daemon.h"
#include "plugins.h"
#include "store.h"

#define FILE_MAX 65536 /* a key, or some */

/* A file with its content, in a list that a name of NULL ends. */
struct files {
	struct store_file *list;
	size_t n;
};

static void files_add(struct files *files, const char *name, const void *bytes, size_t len)
{
	struct store_file *file;
	void *copy = malloc(len + 1);
	char *own = strdup(name);

	files->list = array_grow(files->list, files->n, sizeof(*files->list));
	if (!copy || !own)
		abort();
	file = &files->list[files->n++];
	*file = (struct store_file){.name = own, .bytes = memcpy(copy, bytes, len), .len = len};
	files->list = array_grow(files->list, files->n, sizeof(*files->list));
	files->list[files->n] = (struct store_file){0};
}

static void files_free(struct files *files)
{
	for (size_t i = 0; i < files->n; i++) {
		explicit_bzero((void *)(uintptr_t)files->list[i].bytes, files->list[i].len);
		free((void *)(uintptr_t)files->list[i].bytes);
		free((void *)(uintptr_t)files->list[i].name);
	}
	free(files->list);
}

struct errand {
	struct job job;
	struct op_call *call; /* NULL: the asker went away */
	int fd;
	char *path; /* of the store */
	char *copy; /* beside it */
	struct files files;
	struct err err;
	int rc;
	off_t len;
};

static void forget(void *arg)
{
	struct errand *errand = arg;

	errand->call = NULL;
}

/* PATH.SUFFIX; heap. */
static char *suffixed(const char *path, const char *suffix)
{
	char *name;

	if (asprintf(&name, "%s.%s", path, suffix) < 0)
		abort();
	return name;
}

/* What a restore wrote and did not come to use. */
static void remove_written(const struct errand *errand)
{
	for (size_t i = 0; i < errand->files.n; i++) {
		char *path = state_path(errand->files.list[i].name);
		char *name = suffixed(path, "restoring");

		unlink(name);
		free(name);
		free(path);
	}
}

static void errand_free(struct errand *errand)
{
	unlink(errand->copy);
	remove_written(errand);
	close(errand->fd);
	files_free(&errand->files);
	free(errand->path);
	free(errand->copy);
	free(errand);
}

static void errand_done(struct job *job)
{
	struct errand *errand = (struct errand *)job;

	if (errand->call && errand->rc)
		op_fail(errand->call, "%s", errand->err.msg);
	else if (errand->call)
		op_reply(errand->call, json_pack("{s:I, s:I}", "bytes", (json_int_t)errand->len,
					       "files", (json_int_t)errand->files.n));
	errand_free(errand);
}

/* NULL: answered already. */
static struct errand *errand_new(struct op_call *call, const char *name)
{
	struct errand *errand;

	if (!store_path()) {
		op_fail(call, "no plugin that runs keeps tables, so there is nothing to back up "
			      "or restore");
		return NULL;
	}
	errand = calloc(1, sizeof(*errand));
	if (!errand)
		abort();
	errand->job = (struct job){.done = errand_done, .name = name, .lane = 0xbac};
	errand->copy = suffixed(store_path(), name);
	errand->path = strdup(store_path());
	errand->files.list = calloc(1, sizeof(*errand->files.list));
	if (!errand->path || !errand->files.list)
		abort();
	errand->call = call;
	errand->fd = op_take_fd(call);
	op_on_close(call, forget, errand);
	return errand;
}

/* All of `from`; either may be a pipe. */
static int copy_bytes(int to, int from, off_t *len)
{
	static const size_t piece = 65536;
	char *buf = malloc(piece);
	ssize_t n = 0;
	int rc = 0;

	if (!buf)
		return -ENOMEM;
	while (!rc && (n = read(from, buf, piece)) != 0) {
		if (n < 0 && errno != EINTR)
			rc = -errno;
		for (ssize_t done = 0; !rc && done < n;) {
			ssize_t m = write(to, buf + done, (size_t)(n - done));

			if (m < 0 && errno != EINTR)
				rc = -errno;
			else if (m > 0)
				done += m;
		}
		*len += n > 0 ? n : 0;
	}
	explicit_bzero(buf, piece);
	free(buf);
	if (!rc && fsync(to) != 0 && errno != EINVAL && errno != EROFS)
		rc = -errno;
	return rc;
}

/* ---- backup ---- */

static void list_files(void *arg, const struct store_schema *schema)
{
	struct files *files = arg;

	for (const char *const *name = schema->files; name && *name; name++)
		files_add(files, *name, "", 0);
}

/* Job. One that is not there yet is not in the backup. */
static int read_files(struct errand *errand)
{
	struct files with = {.list = calloc(1, sizeof(*with.list))};
	char *buf = malloc(FILE_MAX);
	int rc = buf && with.list ? 0 : -ENOMEM;

	for (size_t i = 0; !rc && i < errand->files.n; i++) {
		const char *name = errand->files.list[i].name;
		char *path = state_path(name);
		ssize_t len = access(path, F_OK) == 0
				      ? state_read_secret(name, buf, FILE_MAX, &errand->err)
				      : -ENOENT;

		free(path);
		if (len >= 0)
			files_add(&with, name, buf, (size_t)len);
		else if (len != -ENOENT)
			rc = (int)len;
	}
	if (buf)
		explicit_bzero(buf, FILE_MAX);
	free(buf);
	files_free(&errand->files);
	errand->files = with;
	return rc;
}

static void backup_job(struct job *job)
{
	struct errand *errand = (struct errand *)job;
	int fd, rc;

	errand->rc = read_files(errand);
	if (!errand->rc)
		errand->rc = store_backend()->pack(
			errand->path, errand->copy, errand->files.list, &errand->err);
	if (errand->rc)
		return;
	fd = open(errand->copy, O_RDONLY | O_CLOEXEC);
	rc = fd < 0 ? -errno : copy_bytes(errand->fd, fd, &errand->len);
	if (fd >= 0)
		close(fd);
	if (rc)
		errand->rc =
			err_set(&errand->err, rc, "cannot write the backup: %s", strerror(-rc));
}

void store_run_backup(struct op_call *call, const json_t *args)
{
	struct errand *errand = errand_new(call, "backup");

	(void)args;
	if (!errand)
		return;
	store_each_schema(list_files, &errand->files);
	errand->job.run = backup_job;
	job_submit(&errand->job);
}

/* ---- restore ---- */

/* Job. */
static int check_schema(void *arg, const char *name, unsigned version, struct err *err)
{
	const struct store_schema *schema = store_schema(name);

	(void)arg;
	if (!schema || version <= schema->version)
		return 0; /* an older one is upgraded; of a plugin that is not loaded: it waits */
	return err_set(err, -ENOTSUP,
		"the backup was made by a newer Tailplane (%s is at version %u, this one knows "
		"%u): restore it with that",
		name, version, schema->version);
}

static int keep_file(void *arg, const struct store_file *file, struct err *err)
{
	struct files *files = arg;

	if (!file->name || !*file->name || strchr(file->name, '/') || file->name[0] == '.' ||
		file->len > FILE_MAX)
		return err_set(err, -EBADMSG, "the backup has a file that it cannot have");
	files_add(files, file->name, file->bytes, file->len);
	return 0;
}

/* Job: beside where they will be, on disk, so that the loop has only names to change. */
static int write_files(struct errand *errand)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < errand->files.n; i++) {
		const struct store_file *file = &errand->files.list[i];
		char *name = suffixed(file->name, "restoring");

		rc = state_write(name, file->bytes, file->len, 0600, &errand->err);
		free(name);
	}
	return rc;
}

static void restore_job(struct job *job)
{
	struct errand *errand = (struct errand *)job;
	const struct store_unpack to = {
		.schema = check_schema, .file = keep_file, .arg = &errand->files};
	int fd = open(errand->copy, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int rc = fd < 0 ? -errno : copy_bytes(fd, errand->fd, &errand->len);

	if (fd >= 0)
		close(fd);
	if (rc)
		errand->rc = err_set(&errand->err, rc, "cannot copy the backup to %s: %s",
			errand->copy, strerror(-rc));
	else
		errand->rc = store_backend()->unpack(errand->copy, &to, &errand->err);
	if (!errand->rc)
		errand->rc = write_files(errand);
}

static bool keeps_tables(const struct plugin *plugin)
{
	return store_schema(plugin->name) != NULL;
}

/* What stands under `path` gets a suffix; an older one of that name goes. */
static int put_aside(const char *path, struct err *err)
{
	char *aside = suffixed(path, "before-restore");
	int rc = 0;

	if (rename(path, aside) != 0 && errno != ENOENT)
		rc = err_set(err, -errno, "%s: cannot be put aside: %s", path, strerror(errno));
	free(aside);
	return rc;
}

static void put_back(const char *path)
{
	char *aside = suffixed(path, "before-restore");

	if (rename(aside, path) != 0 && errno != ENOENT)
		log_warn("%s: cannot be put back", path);
	free(aside);
}

static int each_path(struct errand *errand, int (*fn)(const char *path, struct err *err))
{
	int rc = fn(errand->path, &errand->err);

	for (size_t i = 0; !rc && i < errand->files.n; i++) {
		char *path = state_path(errand->files.list[i].name);

		rc = fn(path, &errand->err);
		free(path);
	}
	return rc;
}

static int swap(void *arg, struct err *err)
{
	struct errand *errand = arg;
	int rc = each_path(errand, put_aside);

	for (size_t i = 0; !rc && i < errand->files.n; i++) {
		char *to = state_path(errand->files.list[i].name);
		char *from = suffixed(to, "restoring");

		if (rename(from, to) != 0)
			rc = err_set(err, -errno, "%s: %s", to, strerror(errno));
		free(from);
		free(to);
	}
	if (!rc && rename(errand->copy, errand->path) != 0)
		rc = err_set(err, -errno, "%s: %s", errand->path, strerror(errno));
	return rc;
}

static int unswap(const char *path, struct err *err)
{
	(void)err;
	put_back(path);
	return 0;
}

static int swap_back(void *arg, struct err *err)
{
	(void)err;
	return each_path(arg, unswap);
}

static int replace(void *arg, struct err *err)
{
	return store_replace(swap, arg, err);
}

static int replace_back(void *arg, struct err *err)
{
	return store_replace(swap_back, arg, err);
}

static void restore(struct errand *errand)
{
	struct err back = {0};

	errand->rc = plugins_restart_around(keeps_tables, replace, errand, &errand->err);
	if (!errand->rc) {
		log_info("restored a backup; what was there before is beside it, under the same "
			 "names with .before-restore");
		return;
	}
	log_warnx("a backup was not restored: %s; going back to what was there", errand->err.msg);
	if (plugins_restart_around(keeps_tables, replace_back, errand, &back) != 0)
		log_warnx("%s", back.msg);
}

static void restore_done(struct job *job)
{
	struct errand *errand = (struct errand *)job;

	if (!errand->rc && errand->call)
		restore(errand); /* one whose asker went away is not wanted any more */
	errand_done(job);
}

void store_run_restore(struct op_call *call, const json_t *args)
{
	struct errand *errand = errand_new(call, "restore");

	(void)args;
	if (!errand)
		return;
	errand->job.run = restore_job;
	errand->job.done = restore_done;
	job_submit(&errand->job);
}
