/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * X25519 for OpenSSL. Runs on: any thread.
 *
 * A server's handshake needs two operations: the public key of an ephemeral key that it makes, and
 * the secret shared with the client's. OpenSSL makes its key after the pattern of the client's, so
 * both are known when the key is made, and are one run of two ladders side by side: the secret
 * waits in the key until it is asked for. Where a key is made after no pattern, or the secret is
 * with another key, each is computed when it is needed.
 *
 * A secret of all zeroes (RFC 7748, 6.1) fails the exchange. Keys are zeroed when they go.
 */
#include "tls_x25519.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <string.h>
#include <strings.h>

#include "secret.h"
#include "x25519.h"

#define KEY_LEN 32
#define BITS 253

struct key {
	struct private_key private;
	struct public_key public;
	struct public_key other; /* whose shared secret is known already */
	uint8_t shared[KEY_LEN];
	bool has_private, has_public, has_shared;
};

/* ---- keys ---- */

static void *key_new(void *provider)
{
	(void)provider;
	return OPENSSL_zalloc(sizeof(struct key));
}

static void key_free(void *data)
{
	OPENSSL_clear_free(data, sizeof(struct key));
}

static void *key_dup(const void *data, int selection)
{
	const struct key *from = data;
	struct key *to = key_new(NULL);

	if (!to)
		return NULL;
	if (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) {
		to->public = from->public;
		to->has_public = from->has_public;
	}
	if (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) {
		to->private = from->private;
		to->has_private = from->has_private;
	}
	return to;
}

static int key_has(const void *data, int selection)
{
	const struct key *key = data;

	return key && (!(selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) || key->has_public) &&
	       (!(selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) || key->has_private);
}

static int key_match(const void *one, const void *two, int selection)
{
	const struct key *a = one, *b = two;

	if (!(selection & OSSL_KEYMGMT_SELECT_KEYPAIR))
		return 1;
	return a->has_public && b->has_public &&
	       secret_equal(&a->public, &b->public, sizeof(a->public));
}

static bool get_bytes(const OSSL_PARAM *param, uint8_t to[static KEY_LEN])
{
	void *at = to;
	size_t len;

	return param->data_size == KEY_LEN &&
	       OSSL_PARAM_get_octet_string(param, &at, KEY_LEN, &len) && len == KEY_LEN;
}

static int key_import(void *data, int selection, const OSSL_PARAM params[])
{
	const OSSL_PARAM *pub = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_PUB_KEY);
	const OSSL_PARAM *priv = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_PRIV_KEY);
	struct key *key = data;

	if (!(selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY))
		priv = NULL;
	if (!(selection & OSSL_KEYMGMT_SELECT_KEYPAIR) || (!pub && !priv))
		return 0;
	key->has_shared = false;
	if (priv && !get_bytes(priv, key->private.bytes))
		return 0;
	key->has_private = priv != NULL;
	if (pub && !get_bytes(pub, key->public.bytes))
		return 0;
	if (!pub)
		x25519_public(&key->public, &key->private);
	key->has_public = true;
	return 1;
}

static int key_export(void *data, int selection, OSSL_CALLBACK *take, void *arg)
{
	struct key *key = data;
	OSSL_PARAM params[3], *at = params;

	if (!(selection & OSSL_KEYMGMT_SELECT_KEYPAIR) || !key->has_public)
		return 0;
	*at++ = OSSL_PARAM_construct_octet_string(
		OSSL_PKEY_PARAM_PUB_KEY, key->public.bytes, KEY_LEN);
	if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) && key->has_private)
		*at++ = OSSL_PARAM_construct_octet_string(
			OSSL_PKEY_PARAM_PRIV_KEY, key->private.bytes, KEY_LEN);
	*at = OSSL_PARAM_construct_end();
	return take(params, arg);
}

static const OSSL_PARAM *key_pair_types(int selection)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, NULL, 0),
		OSSL_PARAM_END,
	};

	return selection & OSSL_KEYMGMT_SELECT_KEYPAIR ? types : NULL;
}

static bool put_number(OSSL_PARAM params[], const char *name, int number)
{
	OSSL_PARAM *param = OSSL_PARAM_locate(params, name);

	return !param || OSSL_PARAM_set_int(param, number);
}

static bool put_bytes(OSSL_PARAM params[], const char *name, const uint8_t *bytes, bool known)
{
	OSSL_PARAM *param = OSSL_PARAM_locate(params, name);

	return !param || (known && OSSL_PARAM_set_octet_string(param, bytes, KEY_LEN));
}

static int key_get_params(void *data, OSSL_PARAM params[])
{
	const struct key *key = data;

	return put_number(params, OSSL_PKEY_PARAM_BITS, BITS) &&
	       put_number(params, OSSL_PKEY_PARAM_SECURITY_BITS, TLS_X25519_SECURITY_BITS) &&
	       put_number(params, OSSL_PKEY_PARAM_MAX_SIZE, KEY_LEN) &&
	       put_bytes(params, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, key->public.bytes,
		       key->has_public) &&
	       put_bytes(params, OSSL_PKEY_PARAM_PUB_KEY, key->public.bytes, key->has_public) &&
	       put_bytes(params, OSSL_PKEY_PARAM_PRIV_KEY, key->private.bytes, key->has_private);
}

static const OSSL_PARAM *key_gettable(void *provider)
{
	static const OSSL_PARAM gettable[] = {
		OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, NULL, 0),
		OSSL_PARAM_END,
	};

	(void)provider;
	return gettable;
}

static int key_set_params(void *data, const OSSL_PARAM params[])
{
	struct key *key = data;
	const OSSL_PARAM *param =
		OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY);

	if (!param)
		return 1;
	if (!get_bytes(param, key->public.bytes))
		return 0;
	/* it is another key now */
	secret_zero(&key->private, sizeof(key->private));
	secret_zero(key->shared, sizeof(key->shared));
	key->has_private = key->has_shared = false;
	key->has_public = true;
	return 1;
}

static const OSSL_PARAM *key_settable(void *provider)
{
	static const OSSL_PARAM settable[] = {
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
		OSSL_PARAM_END,
	};

	(void)provider;
	return settable;
}

static const char *key_operation(int operation)
{
	return operation == OSSL_OP_KEYEXCH ? TLS_X25519 : NULL;
}

/* ---- new keys ---- */

struct making {
	bool blank; /* no key is wanted, only a place for one */
	bool has_other;
	struct public_key other;
};

static int making_set_params(void *data, const OSSL_PARAM params[])
{
	const OSSL_PARAM *group = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_GROUP_NAME);
	const char *name;

	(void)data;
	if (!group)
		return 1;
	return OSSL_PARAM_get_utf8_string_ptr(group, &name) && name &&
	       strcasecmp(name, TLS_X25519) == 0;
}

static const OSSL_PARAM *making_settable(void *data, void *provider)
{
	static const OSSL_PARAM settable[] = {
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_END,
	};

	(void)data, (void)provider;
	return settable;
}

static void *making_new(void *provider, int selection, const OSSL_PARAM params[])
{
	struct making *making = OPENSSL_zalloc(sizeof(*making));

	(void)provider;
	if (!making)
		return NULL;
	making->blank = !(selection & OSSL_KEYMGMT_SELECT_KEYPAIR);
	if (making_set_params(making, params))
		return making;
	OPENSSL_free(making);
	return NULL;
}

static void making_free(void *data)
{
	OPENSSL_free(data);
}

static int making_set_template(void *data, void *pattern)
{
	const struct key *other = pattern;
	struct making *making = data;

	making->has_other = other->has_public;
	making->other = other->public;
	return 1;
}

/* False: the other's key is of small order. */
static bool make_pair(struct key *key, const struct public_key *other)
{
	uint8_t out[2][KEY_LEN];
	const struct x25519_input in[2] = {{&key->private, &x25519_base}, {&key->private, other}};
	bool good = x25519_shared_pair(out, in);

	if (good) {
		memcpy(key->public.bytes, out[0], KEY_LEN);
		memcpy(key->shared, out[1], KEY_LEN);
		key->other = *other;
		key->has_shared = true;
	}
	secret_zero(out, sizeof(out));
	return good;
}

static void *making_done(void *data, OSSL_CALLBACK *progress, void *arg)
{
	const struct making *making = data;
	struct key *key = key_new(NULL);

	(void)progress, (void)arg;
	if (!key || making->blank)
		return key;
	x25519_generate(&key->private);
	if (!making->has_other || !make_pair(key, &making->other))
		x25519_public(&key->public, &key->private);
	key->has_private = key->has_public = true;
	return key;
}

/* ---- the exchange; OpenSSL keeps the own key as long as it, but not the other ---- */

struct exchange {
	const struct key *own;
	bool has_other;
	struct public_key other;
};

static void *exchange_new(void *provider)
{
	(void)provider;
	return OPENSSL_zalloc(sizeof(struct exchange));
}

static void exchange_free(void *data)
{
	OPENSSL_free(data);
}

static int exchange_init(void *data, void *own, const OSSL_PARAM params[])
{
	struct exchange *exchange = data;

	(void)params;
	exchange->own = own;
	exchange->has_other = false;
	return exchange->own && exchange->own->has_private;
}

static int exchange_set_peer(void *data, void *key)
{
	struct exchange *exchange = data;
	const struct key *other = key;

	exchange->has_other = other && other->has_public;
	if (exchange->has_other)
		exchange->other = other->public;
	return exchange->has_other;
}

static int exchange_derive(void *data, unsigned char *out, size_t *len, size_t room)
{
	const struct exchange *exchange = data;
	const struct key *own = exchange->own;

	*len = KEY_LEN;
	if (!own || !exchange->has_other)
		return 0;
	if (!out)
		return 1;
	if (room < KEY_LEN)
		return 0;
	if (!own->has_shared || !secret_equal(&own->other, &exchange->other, KEY_LEN))
		return x25519_shared(out, &own->private, &exchange->other);
	memcpy(out, own->shared, KEY_LEN);
	return 1;
}

/* ---- as OpenSSL calls it ---- */

#define FN(function) ((void (*)(void))(function))

const OSSL_DISPATCH tls_x25519_key[] = {
	{OSSL_FUNC_KEYMGMT_NEW, FN(key_new)},
	{OSSL_FUNC_KEYMGMT_FREE, FN(key_free)},
	{OSSL_FUNC_KEYMGMT_DUP, FN(key_dup)},
	{OSSL_FUNC_KEYMGMT_HAS, FN(key_has)},
	{OSSL_FUNC_KEYMGMT_MATCH, FN(key_match)},
	{OSSL_FUNC_KEYMGMT_IMPORT, FN(key_import)},
	{OSSL_FUNC_KEYMGMT_IMPORT_TYPES, FN(key_pair_types)},
	{OSSL_FUNC_KEYMGMT_EXPORT, FN(key_export)},
	{OSSL_FUNC_KEYMGMT_EXPORT_TYPES, FN(key_pair_types)},
	{OSSL_FUNC_KEYMGMT_GET_PARAMS, FN(key_get_params)},
	{OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, FN(key_gettable)},
	{OSSL_FUNC_KEYMGMT_SET_PARAMS, FN(key_set_params)},
	{OSSL_FUNC_KEYMGMT_SETTABLE_PARAMS, FN(key_settable)},
	{OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, FN(key_operation)},
	{OSSL_FUNC_KEYMGMT_GEN_INIT, FN(making_new)},
	{OSSL_FUNC_KEYMGMT_GEN_SET_TEMPLATE, FN(making_set_template)},
	{OSSL_FUNC_KEYMGMT_GEN_SET_PARAMS, FN(making_set_params)},
	{OSSL_FUNC_KEYMGMT_GEN_SETTABLE_PARAMS, FN(making_settable)},
	{OSSL_FUNC_KEYMGMT_GEN, FN(making_done)},
	{OSSL_FUNC_KEYMGMT_GEN_CLEANUP, FN(making_free)},
	{0, NULL},
};

const OSSL_DISPATCH tls_x25519_exchange[] = {
	{OSSL_FUNC_KEYEXCH_NEWCTX, FN(exchange_new)},
	{OSSL_FUNC_KEYEXCH_FREECTX, FN(exchange_free)},
	{OSSL_FUNC_KEYEXCH_INIT, FN(exchange_init)},
	{OSSL_FUNC_KEYEXCH_SET_PEER, FN(exchange_set_peer)},
	{OSSL_FUNC_KEYEXCH_DERIVE, FN(exchange_derive)},
	{0, NULL},
};
