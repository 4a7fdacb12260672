/* SPDX-License-Identifier: BSD-3-Clause */
/* The server's Noise key in its file: "privkey:" and 64 hex digits, as Headscale keeps it. Runs on:
 * the control loop, in start. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/log.h>
#include <tailplane/state.h>

#include "private.h"
#include "x25519.h"

#define PREFIX "privkey:"
#define HEX_LEN 64
#define TEXT_MAX 128

static int parse(struct private_key *key, const char *text, size_t len)
{
	size_t n = 0;

	while (len && strchr(" \t\r\n", text[len - 1]))
		len--;
	if (len != strlen(PREFIX) + HEX_LEN || strncmp(text, PREFIX, strlen(PREFIX)) != 0)
		return -EINVAL;
	if (sodium_hex2bin(key->bytes, sizeof(key->bytes), text + strlen(PREFIX), HEX_LEN, NULL, &n,
		    NULL) != 0 ||
		n != sizeof(key->bytes) || secret_is_zero(key->bytes, sizeof(key->bytes)))
		return -EINVAL;
	return 0;
}

static int make(struct private_key *key, const char *path, struct err *err)
{
	char text[sizeof(PREFIX) + HEX_LEN + 1];
	int rc;

	x25519_generate(key);
	memcpy(text, PREFIX, strlen(PREFIX));
	sodium_bin2hex(text + strlen(PREFIX), HEX_LEN + 1, key->bytes, sizeof(key->bytes));
	text[sizeof(text) - 2] = '\n';
	rc = state_write(path, text, sizeof(text) - 1, 0600, err);
	secret_zero(text, sizeof(text));
	if (!rc)
		log_info("made the server's Noise key, %s", path);
	return rc;
}

int key_file_load(struct ts2021_server *server, const char *path, struct err *err)
{
	char text[TEXT_MAX];
	struct err why = {0};
	ssize_t n = state_read_secret(path, text, sizeof(text), &why);
	int rc;

	if (n == -ENOENT)
		rc = make(&server->key, path, err);
	else if (n < 0)
		rc = err_set(err, (int)n, "%s", why.msg);
	else if ((rc = parse(&server->key, text, (size_t)n)) != 0)
		err_set(err, rc, "%s is not a Noise key: \"" PREFIX "\" and %d hex digits", path,
			HEX_LEN);
	secret_zero(text, sizeof(text));
	if (!rc)
		x25519_public(&server->public_key, &server->key);
	return rc;
}
