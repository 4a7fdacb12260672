/* SPDX-License-Identifier: BSD-3-Clause */
/* `import wg`: the files around the pure parts in wgquick.c. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <tailplane/settings.h>

#include "secret_file.h"
#include "text.h"
#include "wgquick.h"

struct import {
	const char *source, *target; /* target NULL: stdout */
	bool replace;
	char *name; /* of the tunnel */
	char *keys; /* the folder of the key files, absolute */
	char *private_key;
	struct wgquick conf;
};

static const char *text_at(const json_t *args, const char *key)
{
	return json_string_value(json_object_get(args, key));
}

/* As wg-quick has it: the interface is called as the file, without ".conf". */
static int choose_name(struct import *import, const char *given, struct err *err)
{
	const char *slash = strrchr(import->source, '/');
	const char *base = slash != NULL ? slash + 1 : import->source;
	size_t len = strlen(base);

	if (len > 5 && strcmp(base + len - 5, ".conf") == 0)
		len -= 5;
	if (given == NULL && strcmp(base, "-") == 0)
		given = "wg0";
	import->name = given != NULL ? text_copy(given, strlen(given)) : text_copy(base, len);
	len = strlen(import->name);
	if (len > 0 && len < IFNAMSIZ && strpbrk(import->name, "/ \t\n:\"\\") == NULL)
		return 0;
	return err_set(err, -EINVAL,
		"'%s' cannot be a tunnel's name (1 to %d characters, no space, no '/'): "
		"choose one with --name",
		import->name, IFNAMSIZ - 1);
}

/* Beside the new configuration, or where we stand. */
static int choose_keys(struct import *import, const char *given, struct err *err)
{
	const char *slash = import->target != NULL ? strrchr(import->target, '/') : NULL;
	char *folder =
		given != NULL ? text_copy(given, strlen(given))
		: slash == NULL
			? text_copy(".", 1)
			: text_copy(import->target,
				  slash == import->target ? 1 : (size_t)(slash - import->target));

	import->keys = realpath(folder, NULL);
	int rc = import->keys != NULL ? 0 : err_set(err, -errno, "%s: %s", folder, strerror(errno));

	free(folder);
	return rc;
}

static int read_source(struct import *import, struct err *err)
{
	size_t len;
	char *text = file_read(import->source, WGQUICK_SIZE_MAX, &len, err);

	if (text == NULL)
		return -EINVAL;
	int rc = wgquick_parse(&import->conf, text, len);

	secret_file_release(text, len);
	return rc;
}

/* "wg0.conf:12: ..." on stderr: what is wrong, or what is left out. */
static void print_notes(const struct import *import)
{
	for (size_t i = 0; i < import->conf.n_notes; i++) {
		const struct wgquick_note *note = &import->conf.notes[i];
		char *text = text_clean(note->text, 0);

		fprintf(stderr, "%s:", import->source);
		if (note->line > 0)
			fprintf(stderr, "%u:", note->line);
		fprintf(stderr, " %s%s\n", note->error ? "" : "left out: ", text);
		free(text);
	}
}

static char *psk_path(void *arg, const struct wgquick_peer *peer)
{
	const struct import *import = arg;
	char digits[17];

	/* Enough of the public key to tell the peers apart, in characters that a file can have. */
	for (unsigned i = 0; i < 8; i++)
		snprintf(digits + 2 * i, 3, "%02x", peer->key.bytes[i]);
	return text_printf("%s/%s-%s.psk", import->keys, import->name, digits);
}

static int write_key(const char *path, const uint8_t bytes[32], struct err *err)
{
	char text[45];
	int rc = secret_file_write(path, setting_format_key(bytes, text), err);

	secret_zero(text, sizeof(text));
	if (rc == 0)
		fprintf(stderr, "secret written to %s\n", path);
	return rc;
}

static int write_keys(struct import *import, struct err *err)
{
	int rc = 0;

	if (import->conf.has_key)
		rc = write_key(import->private_key, import->conf.key.bytes, err);
	for (size_t i = 0; rc == 0 && i < import->conf.n_peers; i++) {
		const struct wgquick_peer *peer = &import->conf.peers[i];

		if (!peer->has_psk)
			continue;
		char *path = psk_path(import, peer);

		rc = write_key(path, peer->psk.bytes, err);
		free(path);
	}
	return rc;
}

static void print_conf(struct import *import, FILE *out)
{
	const struct wgquick_paths paths = {import->private_key, psk_path, import};

	fprintf(out, "# What `tailplane import wg %s` made of it.\n", import->source);
	wgquick_print(out, &import->conf, import->name, &paths);
}

/* Opened before the keys are written: when it cannot be, nothing is left behind. */
static FILE *open_target(struct import *import, struct err *err)
{
	int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (import->replace ? O_TRUNC : O_EXCL);
	int fd = open(import->target, flags, 0644);

	if (fd < 0 && errno == EEXIST)
		err_set(err, -EEXIST, "%s is there already: --force replaces it", import->target);
	else if (fd < 0)
		err_set(err, -errno, "%s: %s", import->target, strerror(errno));
	return fd >= 0 ? fdopen(fd, "w") : NULL;
}

static int write_all(struct import *import, struct err *err)
{
	FILE *out = import->target != NULL ? open_target(import, err) : stdout;
	int rc;

	if (out == NULL)
		return -EIO;
	rc = write_keys(import, err);
	if (rc == 0)
		print_conf(import, out);
	if (fflush(out) != 0 && rc == 0)
		rc = err_set(err, -errno, "%s: %s", import->target, strerror(errno));
	if (out == stdout)
		return rc;
	fclose(out);
	if (rc == 0)
		fprintf(stderr, "written; check it with: tailplaned -n -c %s\n", import->target);
	else
		unlink(import->target);
	return rc;
}

static int import_file(struct import *import, const json_t *args, struct err *err)
{
	int rc = choose_name(import, text_at(args, "name"), err);

	if (rc == 0)
		rc = choose_keys(import, text_at(args, "keys"), err);
	if (rc < 0)
		return rc;
	import->private_key = text_printf("%s/%s.key", import->keys, import->name);
	rc = read_source(import, err);
	print_notes(import);
	if (rc < 0)
		return err_set(err, rc, "%s is not imported", import->source);
	return write_all(import, err);
}

int import_wg(struct cli *cli, const json_t *args, json_t **result, struct err *err)
{
	struct import import = {
		.source = text_at(args, "file"),
		.target = text_at(args, "write"),
		.replace = json_is_true(json_object_get(args, "force")),
	};
	int rc;

	if (import.target != NULL && strcmp(import.target, "-") == 0)
		import.target = NULL;
	rc = import_file(&import, args, err);
	wgquick_free(&import.conf);
	free(import.private_key);
	free(import.keys);
	free(import.name);
	return rc;
}
