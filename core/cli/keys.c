/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys made on the spot: `keys new`, `keys public`, `keys psk`. */
#include "cli.h"

#include <errno.h>
#include <string.h>

#include <tailplane/settings.h>

#include "secret.h"
#include "secret_file.h"
#include "x25519.h"

static const char *text_at(const json_t *args, const char *key)
{
	return json_string_value(json_object_get(args, key));
}

/* With --write the secret goes to its file, else into the result. */
static int hand_out(const json_t *args, json_t *result, const char *name, const uint8_t secret[32],
	struct err *err)
{
	const char *path = text_at(args, "write");
	char text[45];
	int rc = 0;

	setting_format_key(secret, text);
	if (path != NULL)
		rc = secret_file_write(path, text, err);
	else
		json_object_set_new(result, name, json_string(text));
	secret_zero(text, sizeof(text));
	return rc;
}

int keys_new(struct cli *cli, const json_t *args, json_t **result, struct err *err)
{
	struct private_key private;
	struct public_key public;
	char text[45];

	x25519_generate(&private);
	x25519_public(&public, &private);
	*result = json_object();
	int rc = hand_out(args, *result, "private_key", private.bytes, err);

	json_object_set_new(
		*result, "public_key", json_string(setting_format_key(public.bytes, text)));
	secret_zero(&private, sizeof(private));
	return rc;
}

int keys_public(struct cli *cli, const json_t *args, json_t **result, struct err *err)
{
	json_t *secret = json_incref(json_object_get(args, "private-key"));
	struct private_key private;
	struct public_key public;
	char text[45];

	if (secret == NULL)
		secret = secret_file_read("-", err);
	if (secret == NULL)
		return -EINVAL;
	int rc = setting_parse_key(private.bytes, json_string_value(secret), NULL);

	json_decref(secret);
	if (rc < 0)
		return err_set(err, rc,
			"this is no private key: 44 characters of base64, as "
			"'tailplane keys new' writes them");
	x25519_public(&public, &private);
	secret_zero(&private, sizeof(private));
	*result = json_string(setting_format_key(public.bytes, text));
	return 0;
}

int keys_psk(struct cli *cli, const json_t *args, json_t **result, struct err *err)
{
	struct symmetric_key psk;

	secret_random(&psk, sizeof(psk));
	*result = json_object();
	int rc = hand_out(args, *result, "preshared_key", psk.bytes, err);

	secret_zero(&psk, sizeof(psk));
	if (json_object_size(*result) == 0) {
		json_decref(*result);
		*result = NULL;
	}
	return rc;
}
