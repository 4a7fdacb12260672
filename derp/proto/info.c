/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs on: any thread. */
#include "info.h"

#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "x25519.h"

#define JSON_MAX 400 /* of what we write */

/* ---- boxes ---- */

bool derp_box_key(
	struct symmetric_key *key, const struct private_key *own, const struct public_key *other)
{
	static const uint8_t zero[crypto_core_hsalsa20_INPUTBYTES];
	uint8_t shared[32];
	bool good = x25519_shared(shared, own, other);

	crypto_core_hsalsa20(key->bytes, zero, shared, NULL);
	secret_zero(shared, sizeof(shared));
	if (!good)
		secret_zero(key, sizeof(*key));
	return good;
}

/* Opens nonce and box in place; the text's length, or -EPROTO. The text begins at `*text`. */
static ssize_t open_box(
	const struct symmetric_key *key, uint8_t *bytes, size_t len, const uint8_t **text)
{
	uint8_t *box = bytes + DERP_NONCE_LEN;

	if (len < DERP_BOX_OVERHEAD)
		return -EPROTO;
	if (crypto_box_open_easy_afternm(box, box, len - DERP_NONCE_LEN, bytes, key->bytes) != 0)
		return -EPROTO;
	*text = box;
	return (ssize_t)(len - DERP_BOX_OVERHEAD);
}

/* Nonce and box of `text`; how long they are. */
static size_t seal_box(uint8_t *to, const void *text, size_t len, const struct symmetric_key *key)
{
	randombytes_buf(to, DERP_NONCE_LEN);
	crypto_box_easy_afternm(to + DERP_NONCE_LEN, text, len, to, key->bytes);
	return DERP_BOX_OVERHEAD + len;
}

/* ---- JSON in ---- */

/* An object of few members, as a client's first words are. */
static json_t *object_of(const void *json, size_t len)
{
	json_t *object = json_loadb(json, len, 0, NULL);

	if (object && !json_is_object(object)) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static int read_mesh_key(struct derp_client_info *info, const json_t *value)
{
	const char *text = json_string_value(value);
	size_t n = 0;

	if (json_is_null(value))
		return 0;
	if (!text)
		return -EINVAL;
	if (!*text)
		return 0;
	if (strlen(text) != 2 * sizeof(info->mesh_key.bytes) ||
		sodium_hex2bin(info->mesh_key.bytes, sizeof(info->mesh_key.bytes), text,
			strlen(text), NULL, &n, NULL) != 0 ||
		n != sizeof(info->mesh_key.bytes))
		return -EINVAL;
	info->has_mesh_key = true;
	return 0;
}

static int read_int(int64_t *to, const json_t *value)
{
	if (json_is_null(value))
		return 0;
	*to = json_integer_value(value);
	return json_is_integer(value) ? 0 : -EINVAL;
}

static int read_bool(bool *to, const json_t *value)
{
	if (json_is_null(value))
		return 0;
	*to = json_is_true(value);
	return json_is_boolean(value) ? 0 : -EINVAL;
}

static int read_app_name(struct derp_client_info *info, const json_t *value)
{
	const char *text = json_string_value(value);
	size_t n = 0;

	if (json_is_null(value))
		return 0;
	if (!text)
		return -EINVAL;
	for (; *text && n < sizeof(info->app_name) - 1; text++)
		info->app_name[n++] = *text < 0x20 || *text > 0x7e ? '?' : *text;
	info->app_name[n] = '\0';
	return 0;
}

static int read_client_member(struct derp_client_info *info, const char *name, const json_t *value)
{
	if (strcasecmp(name, "version") == 0)
		return read_int(&info->version, value);
	if (strcasecmp(name, "meshKey") == 0)
		return read_mesh_key(info, value);
	if (strcasecmp(name, "CanAckPings") == 0)
		return read_bool(&info->can_ack_pings, value);
	if (strcasecmp(name, "IsProber") == 0)
		return read_bool(&info->is_prober, value);
	if (strcasecmp(name, "AppName") == 0)
		return read_app_name(info, value);
	return 0;
}

int derp_client_info_parse(struct derp_client_info *info, const void *json, size_t len)
{
	json_t *object = object_of(json, len), *value;
	const char *name;
	int rc = object ? 0 : -EINVAL;

	memset(info, 0, sizeof(*info));
	json_object_foreach (object, name, value) {
		if (!rc)
			rc = read_client_member(info, name, value);
	}
	json_decref(object);
	if (rc)
		secret_zero(info, sizeof(*info));
	return rc;
}

int derp_server_info_parse(struct derp_server_info *info, const void *json, size_t len)
{
	json_t *object = object_of(json, len), *value;
	int64_t rate = 0, burst = 0;
	const char *name;
	int rc = object ? 0 : -EINVAL;

	memset(info, 0, sizeof(*info));
	json_object_foreach (object, name, value) {
		if (!rc && strcasecmp(name, "version") == 0)
			rc = read_int(&info->version, value);
		else if (!rc && strcasecmp(name, "TokenBucketBytesPerSecond") == 0)
			rc = read_int(&rate, value);
		else if (!rc && strcasecmp(name, "TokenBucketBytesBurst") == 0)
			rc = read_int(&burst, value);
	}
	json_decref(object);
	info->token_bucket_bytes_per_second = rate > 0 ? (uint64_t)rate : 0;
	info->token_bucket_bytes_burst = burst > 0 ? (uint64_t)burst : 0;
	return rc;
}

/* ---- frames ---- */

int derp_client_info_open(struct derp_client_info *info, struct public_key *client,
	struct symmetric_key *key, const struct private_key *server, uint8_t *payload, size_t len)
{
	const uint8_t *json;
	ssize_t text;
	int rc;

	memset(info, 0, sizeof(*info));
	if (len < DERP_CLIENT_INFO_MIN || len > DERP_CLIENT_INFO_MAX)
		return -EPROTO;
	memcpy(client->bytes, payload, DERP_KEY_LEN);
	if (secret_is_zero(client, sizeof(*client)) || !derp_box_key(key, server, client))
		return -EPROTO;
	text = open_box(key, payload + DERP_KEY_LEN, len - DERP_KEY_LEN, &json);
	rc = text < 0 ? (int)text : derp_client_info_parse(info, json, (size_t)text);
	if (text > 0)
		secret_zero(payload + DERP_KEY_LEN + DERP_NONCE_LEN, (size_t)text);
	if (rc)
		secret_zero(key, sizeof(*key));
	return rc;
}

ssize_t derp_server_info_seal(uint8_t *to, size_t size, const struct derp_server_info *info,
	const struct symmetric_key *key)
{
	char json[JSON_MAX];
	int n = snprintf(json, sizeof(json), "{\"version\":%lld", (long long)info->version);

	if (info->token_bucket_bytes_per_second)
		n += snprintf(json + n, sizeof(json) - (size_t)n,
			",\"TokenBucketBytesPerSecond\":%llu,\"TokenBucketBytesBurst\":%llu",
			(unsigned long long)info->token_bucket_bytes_per_second,
			(unsigned long long)info->token_bucket_bytes_burst);
	n += snprintf(json + n, sizeof(json) - (size_t)n, "}");
	if (size < DERP_HEADER_LEN + DERP_BOX_OVERHEAD + (size_t)n)
		return -ENOSPC;
	derp_header_put(to, DERP_SERVER_INFO, DERP_BOX_OVERHEAD + (uint32_t)n);
	return (ssize_t)(DERP_HEADER_LEN + seal_box(to + DERP_HEADER_LEN, json, (size_t)n, key));
}

/* The name's characters need no escapes but these. */
static int put_app_name(char *to, size_t size, const char *name)
{
	char text[2 * DERP_APP_NAME_MAX];
	size_t n = 0;

	for (; *name && n + 2 < sizeof(text); name++) {
		if (*name == '"' || *name == '\\')
			text[n++] = '\\';
		text[n++] = *name < 0x20 || *name > 0x7e ? '?' : *name;
	}
	text[n] = '\0';
	return snprintf(to, size, ",\"AppName\":\"%s\"", text);
}

ssize_t derp_client_info_seal(uint8_t *to, size_t size, const struct derp_client_info *info,
	const struct public_key *client, const struct symmetric_key *key)
{
	char json[JSON_MAX], hex[2 * sizeof(info->mesh_key.bytes) + 1];
	uint8_t *at = to + DERP_HEADER_LEN + DERP_KEY_LEN;
	int n = snprintf(json, sizeof(json), "{\"version\":%lld,\"CanAckPings\":%s",
		(long long)info->version, info->can_ack_pings ? "true" : "false");
	size_t len;

	if (info->has_mesh_key) {
		sodium_bin2hex(
			hex, sizeof(hex), info->mesh_key.bytes, sizeof(info->mesh_key.bytes));
		n += snprintf(json + n, sizeof(json) - (size_t)n, ",\"meshKey\":\"%s\"", hex);
	}
	if (info->is_prober)
		n += snprintf(json + n, sizeof(json) - (size_t)n, ",\"IsProber\":true");
	if (info->app_name[0])
		n += put_app_name(json + n, sizeof(json) - (size_t)n, info->app_name);
	n += snprintf(json + n, sizeof(json) - (size_t)n, "}");
	len = DERP_KEY_LEN + DERP_BOX_OVERHEAD + (size_t)n;
	if (size >= DERP_HEADER_LEN + len) {
		derp_header_put(to, DERP_CLIENT_INFO, (uint32_t)len);
		memcpy(to + DERP_HEADER_LEN, client->bytes, DERP_KEY_LEN);
		seal_box(at, json, (size_t)n, key);
	}
	secret_zero(json, sizeof(json));
	secret_zero(hex, sizeof(hex));
	return size < DERP_HEADER_LEN + len ? -ENOSPC : (ssize_t)(DERP_HEADER_LEN + len);
}

int derp_server_info_open(struct derp_server_info *info, const struct symmetric_key *key,
	uint8_t *payload, size_t len)
{
	const uint8_t *json;
	ssize_t text;

	memset(info, 0, sizeof(*info));
	if (len > DERP_SERVER_INFO_MAX)
		return -EPROTO;
	text = open_box(key, payload, len, &json);
	return text < 0 ? (int)text : derp_server_info_parse(info, json, (size_t)text);
}
