/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "verify_file.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <tailplane/log.h>
#include <tailplane/loop.h>
#include <tailplane/state.h>

#define PREFIX "nodekey:"
#define HEX_LEN 64
#define FILE_MAX (16u << 20)
#define LOOK_EVERY 1.
#define SETTLES 0.2 /* who writes a file in place has it empty for a moment */

static struct {
	struct public_key *keys;
	size_t n;
	char *path;
	void (*gone)(const struct public_key *key);
	struct stat seen;
	bool changes; /* since it was read */
	ev_timer look;
} file;

/* ---- parsing ------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct public_key));
}

/* 1: a key; 0: an empty line; -1: neither. */
static int parse_line(struct public_key *key, const char *line, size_t len)
{
	static const char blank[] = " \t\r";
	size_t n, prefix = strlen(PREFIX);

	while (len && strchr(blank, *line))
		line++, len--;
	if (!len || *line == '#')
		return 0;
	if (len < prefix + HEX_LEN || memcmp(line, PREFIX, prefix) != 0 ||
		sodium_hex2bin(key->bytes, sizeof(key->bytes), line + prefix, HEX_LEN, NULL, &n,
			NULL) != 0 ||
		n != sizeof(key->bytes))
		return -1;
	line += prefix + HEX_LEN;
	len -= prefix + HEX_LEN;
	while (len && strchr(blank, *line))
		line++, len--;
	return !len || *line == '#' ? 1 : -1;
}

struct public_key *verify_keys_parse(const char *text, size_t len, size_t *n, struct err *err)
{
	struct public_key *keys = malloc((len / (strlen(PREFIX) + HEX_LEN) + 1) * sizeof(*keys));
	size_t at = 0, line = 1;

	*n = 0;
	for (; keys && at < len; line++) {
		const char *end = memchr(text + at, '\n', len - at);
		size_t line_len = end ? (size_t)(end - text) - at : len - at;
		int found = parse_line(&keys[*n], text + at, line_len);

		if (found < 0) {
			err_set(err, -EINVAL,
				"line %zu is no node key, \"" PREFIX "\" and %d hex digits", line,
				HEX_LEN);
			free(keys);
			return NULL;
		}
		*n += (size_t)found;
		at += line_len + 1;
	}
	if (keys)
		qsort(keys, *n, sizeof(*keys), compare);
	else
		err_set(err, -ENOMEM, "out of memory");
	return keys;
}

/* ---- the file ------------------------------------------------------------------------------ */

bool verify_file_has(const struct public_key *key)
{
	return file.n && bsearch(key, file.keys, file.n, sizeof(*key), compare);
}

static void replace(struct public_key *keys, size_t n)
{
	struct public_key *old = file.keys;
	size_t n_old = file.n;

	file.keys = keys;
	file.n = n;
	for (size_t i = 0; i < n_old; i++)
		if (!verify_file_has(&old[i]))
			file.gone(&old[i]);
	free(old);
}

static void read_file(void)
{
	char *text = malloc(FILE_MAX);
	struct err err = {0};
	ssize_t len = text ? state_read(file.path, text, FILE_MAX, NULL) : -ENOMEM;
	struct public_key *keys = NULL;
	size_t n = 0;

	if (len >= 0)
		keys = verify_keys_parse(text, (size_t)len, &n, &err);
	if (keys || len == -ENOENT)
		replace(keys, n);
	if (!keys)
		log_warnx("derp.verify_client_file %s: %s; %s", file.path,
			len < 0 ? strerror((int)-len) : err.msg,
			file.keys ? "it stays as it was" : "nobody is let in by it");
	free(text);
}

/* ---- looking at it ------------------------------------------------------------------------- */

static struct stat look(void)
{
	struct stat now = {0};

	if (stat(file.path, &now) != 0)
		now = (struct stat){0};
	return now;
}

LOOP_CALLBACK(verify_file_look, ev_timer)
{
	struct stat now = look();

	(void)revents;
	if (!state_file_same(&now, &file.seen)) {
		file.changes = true;
	} else if (file.changes) {
		file.changes = false;
		read_file();
	}
	file.seen = now;
	watcher->repeat = file.changes ? SETTLES : LOOK_EVERY;
	ev_timer_again(loop, watcher);
}

void verify_file_stop(void)
{
	ev_timer_stop(core_loop(), &file.look);
	free(file.keys);
	free(file.path);
	memset(&file, 0, sizeof(file));
}

void verify_file_start(const char *path, void (*gone)(const struct public_key *key))
{
	char *full = state_path(path);

	if (file.path && !strcmp(full, file.path)) {
		free(full);
		read_file();
		return;
	}
	verify_file_stop();
	file.path = full;
	file.gone = gone;
	ev_init(&file.look, verify_file_look);
	file.look.repeat = LOOK_EVERY;
	ev_timer_again(core_loop(), &file.look);
	file.seen = look();
	read_file();
}
