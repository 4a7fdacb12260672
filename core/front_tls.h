/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>
#include <tailplane/err.h>

/*
 * TLS of the front door. A certificate is chosen by a provider, asked by server name and ALPN;
 * files are the first provider. A context is made by the control loop, counted, and not changed
 * once loops have it; a handshake holds on to the one that it began with.
 */
struct tls_certificate {
	X509 *leaf;
	EVP_PKEY *key;
	STACK_OF(X509) * chain; /* without the leaf */
};

struct tls_provider {
	/* The certificate for `name` (NULL: the client named none), valid as long as the provider;
	 * NULL: not ours. `alpn`: as in the ClientHello, NULL: none. Any I/O loop, at once. */
	const struct tls_certificate *(*find)(
		void *arg, const char *name, const uint8_t *alpn, size_t alpn_len);
	void (*free)(void *arg);
	void *arg;
};

struct tls_context;

/* Takes the provider. `extra` (DER) goes out behind every chain; NULL: none. */
struct tls_context *tls_context_new(
	struct tls_provider provider, const uint8_t *extra, size_t extra_len, struct err *err);
struct tls_context *tls_context_get(struct tls_context *context);
void tls_context_put(struct tls_context *context);

/* Pairs of PEM files; the first is for clients that name nobody. */
struct tls_files {
	const char *cert_path, *key_path;
};
int tls_files_provider(
	struct tls_provider *provider, const struct tls_files *files, size_t n, struct err *err);

/* ---- one connection, on its I/O loop; `tls` NULL is a plain one where it may be ---- */

SSL *tls_new(struct tls_context *context, int fd);
/* 0: the handshake is done; EV_READ or EV_WRITE: what it waits for; -EPROTO: it failed. */
int tls_accept(SSL *tls);
bool tls_pending(SSL *tls);
void tls_say_goodbye(SSL *tls);
