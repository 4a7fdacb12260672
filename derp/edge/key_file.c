/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop, in start. */
#include "key_file.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include <tailplane/log.h>
#include <tailplane/state.h>

#include "x25519.h"

#define PREFIX "privkey:"
#define HEX_LEN 64
#define TEXT_MAX 4096

/* In JSON the key is the one string that begins so; nothing else of that file matters to us. */
static int parse(struct private_key *key, char *text)
{
	char *at = strstr(text, PREFIX);
	size_t n = 0;

	if (!at)
		return -EINVAL;
	at += strlen(PREFIX);
	if (strspn(at, "0123456789abcdefABCDEF") != HEX_LEN ||
		sodium_hex2bin(key->bytes, sizeof(key->bytes), at, HEX_LEN, NULL, &n, NULL) != 0 ||
		n != sizeof(key->bytes) || secret_is_zero(key->bytes, sizeof(key->bytes)))
		return -EINVAL;
	return 0;
}

static int make(struct private_key *key, const char *path, struct err *err)
{
	char text[sizeof(PREFIX) + HEX_LEN + 1] = PREFIX;
	int rc;

	x25519_generate(key);
	sodium_bin2hex(text + strlen(PREFIX), HEX_LEN + 1, key->bytes, sizeof(key->bytes));
	text[sizeof(text) - 2] = '\n';
	rc = state_write(path, text, sizeof(text) - 1, 0600, err);
	secret_zero(text, sizeof(text));
	if (!rc)
		log_info("made the relay's key, %s", path);
	return rc;
}

int derp_key_load(struct private_key *key, const char *path, struct err *err)
{
	char text[TEXT_MAX + 1];
	struct err why = {0};
	ssize_t n = state_read_secret(path, text, TEXT_MAX, &why);
	int rc = 0;

	if (n == -ENOENT)
		rc = make(key, path, err);
	else if (n < 0)
		rc = err_set(err, (int)n, "%s", why.msg);
	if (n >= 0) {
		text[n] = '\0';
		rc = parse(key, text);
		if (rc)
			err_set(err, rc,
				"%s is no key of a relay: \"" PREFIX
				"\" and %d hex digits; without the file a new one is made",
				path, HEX_LEN);
	}
	secret_zero(text, sizeof(text));
	return rc;
}
