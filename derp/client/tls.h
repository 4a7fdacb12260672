/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* TLS toward a relay: what its certificate must be, and what else it says. Any thread, one at a
 * time for a connection; a context may be shared. */
#include <stdbool.h>
#include <stdint.h>

#include <openssl/ssl.h>
#include <tailplane/err.h>

#include "secret.h"
#include "target.h"

/* With the system's certificates of authorities (SSL_CERT_FILE, SSL_CERT_DIR in their place), as
 * they are now. NULL: OpenSSL cannot. */
SSL_CTX *derp_tls_ctx_new(struct err *err);

/* A connection on `fd`, before its handshake; NULL: no memory. */
SSL *derp_tls_new(SSL_CTX *ctx, const struct derp_target *target, int fd);
/* 0: done; EV_READ or EV_WRITE: when to call again; else it failed, -errno. Nothing may be sent
 * before it answered 0. */
int derp_tls_handshake(SSL *tls, const struct derp_target *target, struct err *err);

#define DERP_META_PREFIX "derpkey"
/*
 * The relay's key, as the certificate that relays add behind their chain tells it to clients of TLS
 * 1.3. False: there is none, or it is of a protocol version above 255.
 */
bool derp_tls_meta_key(const SSL *tls, struct public_key *key, uint8_t *version);

/* SHA-256 of the relay's own certificate, as DERP_CERT_PIN has it. */
bool derp_tls_pin(const SSL *tls, char hex[static 65]);
