/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The key schedule of TLS 1.3 for OpenSSL: TLS13-KDF, as libssl uses it. Runs on: any thread.
 *
 * A handshake derives some twenty secrets, and OpenSSL's frame around each costs several times what
 * the hash does. And the secrets of the records come by here as bytes, where OpenSSL otherwise
 * tells them as text, with three others that nobody wants (tls_records_take.c).
 *
 * All is told with `derive`; nothing is kept in between.
 */
#include "tls_schedule.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>
#include <strings.h>

#include "secret.h"
#include "tls_hkdf.h"
#include "tls_records_check.h"

static int nothing;

static void *schedule_new(void *provider)
{
	(void)provider;
	return &nothing;
}

static void schedule_free(void *data)
{
	(void)data;
}

static void schedule_reset(void *data)
{
	(void)data;
}

static int schedule_set_params(void *data, const OSSL_PARAM params[])
{
	(void)data;
	return !params || !params->key;
}

/* What a derivation is asked for. */
struct asked {
	int mode;
	enum tls_hash hash;
	struct tls_bytes key, salt, prefix, label, context;
};

static bool hash_named(enum tls_hash *hash, const char *name)
{
	static const struct {
		const char *name;
		enum tls_hash hash;
	} names[] = {
		{"SHA2-256", TLS_SHA256},
		{"SHA256", TLS_SHA256},
		{"SHA2-384", TLS_SHA384},
		{"SHA384", TLS_SHA384},
	};

	for (size_t i = 0; name && i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcasecmp(name, names[i].name) == 0) {
			*hash = names[i].hash;
			return true;
		}
	}
	return false;
}

static bool read_asked(struct asked *asked, const OSSL_PARAM *param)
{
	const struct {
		const char *name;
		struct tls_bytes *to;
	} bytes[] = {
		{OSSL_KDF_PARAM_KEY, &asked->key},
		{OSSL_KDF_PARAM_SALT, &asked->salt},
		{OSSL_KDF_PARAM_PREFIX, &asked->prefix},
		{OSSL_KDF_PARAM_LABEL, &asked->label},
		{OSSL_KDF_PARAM_DATA, &asked->context},
	};
	bool mode = false, hash = false;

	*asked = (struct asked){0};
	for (; param && param->key; param++) {
		if (strcmp(param->key, OSSL_KDF_PARAM_MODE) == 0)
			mode = OSSL_PARAM_get_int(param, &asked->mode);
		else if (strcmp(param->key, OSSL_KDF_PARAM_DIGEST) == 0)
			hash = param->data_type == OSSL_PARAM_UTF8_STRING &&
			       hash_named(&asked->hash, param->data);
		for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
			if (param->data_type == OSSL_PARAM_OCTET_STRING &&
				strcmp(param->key, bytes[i].name) == 0)
				*bytes[i].to = (struct tls_bytes){param->data, param->data_size};
		}
	}
	return mode && hash;
}

/* The next of the three secrets: from the one before (none: zeroes) and what is new (none: zeroes).
 */
static bool extract(const struct asked *asked, uint8_t *out)
{
	static const uint8_t zeroes[TLS_HASH_MAX];
	size_t len = tls_hash_len(asked->hash);
	struct tls_bytes key = asked->key.at ? asked->key : (struct tls_bytes){zeroes, len};
	uint8_t empty[TLS_HASH_MAX], salt[TLS_HASH_MAX] = {0};
	bool done = true;

	if (asked->salt.at) {
		tls_hash_of_nothing(asked->hash, empty);
		done = tls_hkdf_expand_label(asked->hash, asked->salt, asked->prefix, asked->label,
			(struct tls_bytes){empty, len}, salt, len);
	}
	done = done && tls_hkdf_extract(asked->hash, (struct tls_bytes){salt, len}, key, out);
	secret_zero(salt, sizeof(salt));
	return done;
}

static int schedule_derive(void *data, unsigned char *out, size_t len, const OSSL_PARAM params[])
{
	struct asked asked;

	(void)data;
	if (!read_asked(&asked, params))
		return 0;
	if (asked.mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY)
		return len == tls_hash_len(asked.hash) && extract(&asked, out);
	if (asked.mode != EVP_KDF_HKDF_MODE_EXPAND_ONLY || !asked.key.at ||
		!tls_hkdf_expand_label(
			asked.hash, asked.key, asked.prefix, asked.label, asked.context, out, len))
		return 0;
	tls_records_secret(asked.label.at, asked.label.len, out, len);
	return 1;
}

static const OSSL_PARAM *schedule_settable(void *data, void *provider)
{
	static const OSSL_PARAM none[] = {OSSL_PARAM_END};

	(void)data, (void)provider;
	return none;
}

#define FN(function) ((void (*)(void))(function))

const OSSL_DISPATCH tls_schedule_functions[] = {
	{OSSL_FUNC_KDF_NEWCTX, FN(schedule_new)},
	{OSSL_FUNC_KDF_FREECTX, FN(schedule_free)},
	{OSSL_FUNC_KDF_RESET, FN(schedule_reset)},
	{OSSL_FUNC_KDF_SET_CTX_PARAMS, FN(schedule_set_params)},
	{OSSL_FUNC_KDF_SETTABLE_CTX_PARAMS, FN(schedule_settable)},
	{OSSL_FUNC_KDF_DERIVE, FN(schedule_derive)},
	{0, NULL},
};
