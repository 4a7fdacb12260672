/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What of a server's handshake is ours, as an OpenSSL provider: the key schedule, and X25519 where
 * two operations cost as much as one. Runs on: any thread.
 */
#include "tls_provider.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <strings.h>

#include "tls_schedule.h"
#include "tls_x25519.h"
#include "x25519.h"

#define GROUP "x25519"
#define GROUP_ID 29 /* RFC 8446, 4.2.7 */
#define PROPERTIES "provider=" TLS_PROVIDER
#define END                            \
	{                              \
		NULL, NULL, NULL, NULL \
	}

static const OSSL_ALGORITHM key_algorithms[] = {
	{TLS_X25519 ":1.3.101.110", PROPERTIES, tls_x25519_key, NULL}, END};
static const OSSL_ALGORITHM exchange_algorithms[] = {
	{TLS_X25519 ":1.3.101.110", PROPERTIES, tls_x25519_exchange, NULL}, END};
static const OSSL_ALGORITHM kdf_algorithms[] = {
	{"TLS13-KDF", PROPERTIES, tls_schedule_functions, NULL}, END};

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_cache)
{
	(void)provider;
	*no_cache = 0;
	switch (operation) {
	case OSSL_OP_KDF:
		return kdf_algorithms;
	case OSSL_OP_KEYMGMT:
		return x25519_pair_costs_one() ? key_algorithms : NULL;
	case OSSL_OP_KEYEXCH:
		return x25519_pair_costs_one() ? exchange_algorithms : NULL;
	default:
		return NULL;
	}
}

/* OpenSSL takes a group only of the provider whose keys it would use for it. */
static int capabilities(void *provider, const char *capability, OSSL_CALLBACK *take, void *arg)
{
	static char name[] = GROUP, algorithm[] = TLS_X25519;
	static unsigned id = GROUP_ID, bits = TLS_X25519_SECURITY_BITS;
	static int min_tls = 0x0301, no_limit = 0, min_dtls = 0xfeff;
	static const OSSL_PARAM group[] = {
		OSSL_PARAM_utf8_string(OSSL_CAPABILITY_TLS_GROUP_NAME, name, sizeof(name)),
		OSSL_PARAM_utf8_string(
			OSSL_CAPABILITY_TLS_GROUP_NAME_INTERNAL, algorithm, sizeof(algorithm)),
		OSSL_PARAM_utf8_string(OSSL_CAPABILITY_TLS_GROUP_ALG, algorithm, sizeof(algorithm)),
		OSSL_PARAM_uint(OSSL_CAPABILITY_TLS_GROUP_ID, &id),
		OSSL_PARAM_uint(OSSL_CAPABILITY_TLS_GROUP_SECURITY_BITS, &bits),
		OSSL_PARAM_int(OSSL_CAPABILITY_TLS_GROUP_MIN_TLS, &min_tls),
		OSSL_PARAM_int(OSSL_CAPABILITY_TLS_GROUP_MAX_TLS, &no_limit),
		OSSL_PARAM_int(OSSL_CAPABILITY_TLS_GROUP_MIN_DTLS, &min_dtls),
		OSSL_PARAM_int(OSSL_CAPABILITY_TLS_GROUP_MAX_DTLS, &no_limit),
		OSSL_PARAM_END,
	};

	(void)provider;
	if (strcasecmp(capability, "TLS-GROUP") != 0 || !x25519_pair_costs_one())
		return 1;
	return take(group, arg);
}

static void teardown(void *provider)
{
	(void)provider;
}

#define FN(function) ((void (*)(void))(function))

static const OSSL_DISPATCH functions[] = {
	{OSSL_FUNC_PROVIDER_TEARDOWN, FN(teardown)},
	{OSSL_FUNC_PROVIDER_QUERY_OPERATION, FN(query)},
	{OSSL_FUNC_PROVIDER_GET_CAPABILITIES, FN(capabilities)},
	{0, NULL},
};

int tls_provider(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
	void **provider)
{
	(void)in;
	*out = functions;
	*provider = (void *)handle;
	return 1;
}
