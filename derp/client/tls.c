/* SPDX-License-Identifier: BSD-3-Clause */
/* Any thread, one at a time for a connection. */
#include "tls.h"

#include <errno.h>
#include <ev.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sodium.h>
#include <string.h>

#include <tailplane/tls_records.h>

#define COMMON_NAME_MAX 128

SSL_CTX *derp_tls_ctx_new(struct err *err)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (!ctx || SSL_CTX_set_default_verify_paths(ctx) != 1) {
		SSL_CTX_free(ctx);
		ERR_clear_error();
		err_set(err, -ENOMEM, "OpenSSL cannot make a context");
		return NULL;
	}
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	tls_records_watch(ctx); /* a link of the mesh carries much */
	/* a resumed session shows no certificates, so no key of the relay either */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	return ctx;
}

static bool is_pin(const struct derp_target *target)
{
	return strncmp(target->cert_name, DERP_CERT_PIN, strlen(DERP_CERT_PIN)) == 0;
}

static bool is_address(const char *host)
{
	struct net_addr addr;

	return net_addr_parse(&addr, host) == 0;
}

static bool expect_name(SSL *tls, const char *name)
{
	if (is_address(name))
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), name) == 1;
	SSL_set_hostflags(tls, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(tls, name) == 1;
}

SSL *derp_tls_new(SSL_CTX *ctx, const struct derp_target *target, int fd)
{
	bool own_checks = is_pin(target) || target->insecure;
	SSL *tls = SSL_new(ctx);

	if (!tls || SSL_set_fd(tls, fd) != 1)
		goto fail;
	/* the name that is asked for stays the host's, whatever the certificate's is */
	if (!is_address(target->host) && SSL_set_tlsext_host_name(tls, target->host) != 1)
		goto fail;
	SSL_set_verify(tls, own_checks ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	if (!own_checks &&
		!expect_name(tls, target->cert_name[0] ? target->cert_name : target->host))
		goto fail;
	SSL_set_connect_state(tls);
	return tls;
fail:
	SSL_free(tls);
	ERR_clear_error();
	return NULL;
}

static bool common_name(const X509 *cert, char name[COMMON_NAME_MAX])
{
	return X509_NAME_get_text_by_NID(
		       X509_get_subject_name(cert), NID_commonName, name, COMMON_NAME_MAX) > 0;
}

static bool is_meta(const X509 *cert)
{
	char name[COMMON_NAME_MAX];

	return common_name(cert, name) &&
	       strncmp(name, DERP_META_PREFIX, strlen(DERP_META_PREFIX)) == 0;
}

static bool digest(const X509 *cert, char hex[static 65])
{
	uint8_t hash[32];
	unsigned len = 0;

	if (X509_digest(cert, EVP_sha256(), hash, &len) != 1 || len != sizeof(hash))
		return false;
	sodium_bin2hex(hex, 65, hash, sizeof(hash));
	return true;
}

/* As other clients have it: an address is not asked about, the pin says enough. */
static bool is_for_host(X509 *cert, const char *host)
{
	return is_address(host) ||
	       X509_check_host(cert, host, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
}

static int check_pinned(X509 *cert, const struct derp_target *target, struct err *err)
{
	char hex[65] = "";

	if (!digest(cert, hex) || strcmp(hex, target->cert_name + strlen(DERP_CERT_PIN)) != 0)
		return err_set(err, -EACCES,
			"TLS: the certificate is not the pinned one, it is %s%s", DERP_CERT_PIN,
			hex);
	if (!is_for_host(cert, target->host))
		return err_set(err, -EACCES, "TLS: the certificate is not for %s", target->host);
	if (X509_cmp_current_time(X509_get0_notAfter(cert)) <= 0)
		return err_set(err, -EACCES, "TLS: the certificate has expired");
	if (X509_cmp_current_time(X509_get0_notBefore(cert)) >= 0)
		return err_set(
			err, -EACCES, "TLS: the certificate is not valid yet; is the clock right?");
	return 0;
}

/* The pinned certificate and none beside it but the one with the key. */
static int check_pin(SSL *tls, const struct derp_target *target, struct err *err)
{
	const STACK_OF(X509) *chain = SSL_get_peer_cert_chain(tls);
	bool seen = false;

	for (int i = 0; i < sk_X509_num(chain); i++) {
		X509 *cert = sk_X509_value(chain, i);
		int rc;

		if (is_meta(cert))
			continue;
		if (seen)
			return err_set(
				err, -EACCES, "TLS: there is a certificate beside the pinned one");
		rc = check_pinned(cert, target, err);
		if (rc)
			return rc;
		seen = true;
	}
	/* the handshake was signed by the first: it must be that one */
	if (!seen || is_meta(sk_X509_value(chain, 0)))
		return err_set(err, -EACCES, "TLS: the relay shows no certificate of its own");
	return 0;
}

static int handshake_failed(SSL *tls, int why, int number, struct err *err)
{
	long verified = SSL_get_verify_result(tls);
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	if (verified != X509_V_OK && SSL_get_verify_mode(tls) != SSL_VERIFY_NONE)
		err_set(err, -EACCES, "TLS: %s", X509_verify_cert_error_string(verified));
	else if (why == SSL_ERROR_SYSCALL && !reason)
		err_set(err, -ECONNRESET, "TLS: %s",
			number ? strerror(number) : "the connection was closed");
	else
		err_set(err, -EPROTO, "TLS: %s", reason ? reason : "it failed");
	ERR_clear_error();
	return verified != X509_V_OK ? -EACCES : -EPROTO;
}

int derp_tls_handshake(SSL *tls, const struct derp_target *target, struct err *err)
{
	int rc = SSL_do_handshake(tls), number = errno;
	int why = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(tls, rc);

	switch (why) {
	case SSL_ERROR_NONE:
		return is_pin(target) ? check_pin(tls, target, err) : 0;
	case SSL_ERROR_WANT_READ:
		ERR_clear_error();
		return EV_READ;
	case SSL_ERROR_WANT_WRITE:
		ERR_clear_error();
		return EV_WRITE;
	default:
		return handshake_failed(tls, why, number, err);
	}
}

static bool meta_key_of(const X509 *cert, struct public_key *key, uint8_t *version)
{
	const size_t prefix = strlen(DERP_META_PREFIX);
	char name[COMMON_NAME_MAX];
	uint64_t serial;
	size_t n = 0;

	if (!is_meta(cert) || !common_name(cert, name) || strlen(name) != prefix + 64 ||
		sodium_hex2bin(key->bytes, 32, name + prefix, 64, NULL, &n, NULL) != 0 || n != 32)
		return false;
	if (ASN1_INTEGER_get_uint64(&serial, X509_get0_serialNumber(cert)) != 1 || serial > 255) {
		ERR_clear_error();
		return false;
	}
	*version = (uint8_t)serial;
	return true;
}

bool derp_tls_meta_key(const SSL *tls, struct public_key *key, uint8_t *version)
{
	const STACK_OF(X509) *chain = SSL_get_peer_cert_chain(tls);

	/* below 1.3 the certificates went in the clear, and other hands may have sorted them */
	if (SSL_version(tls) < TLS1_3_VERSION)
		return false;
	for (int i = 0; i < sk_X509_num(chain); i++)
		if (meta_key_of(sk_X509_value(chain, i), key, version))
			return true;
	return false;
}

bool derp_tls_pin(const SSL *tls, char hex[static 65])
{
	X509 *leaf = SSL_get0_peer_certificate(tls);

	return leaf && digest(leaf, hex);
}
