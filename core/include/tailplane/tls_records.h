/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The records of an established TLS 1.3 connection (RFC 8446, section 5), without OpenSSL's
 * connection behind them: a few hundred bytes and two AEAD contexts, and a record costs little more
 * than its AEAD. The handshake stays OpenSSL's; who will carry much after it takes the keys over.
 *
 * No sockets: bytes in, bytes out. One thread at a time for each connection.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <openssl/types.h>

#pragma GCC visibility push(default)

#define TLS_TEXT_MAX 16384 /* of one record */
/* What sealing adds: header, type and tag, and now and then a record that changes the keys. */
#define TLS_SEAL_MORE (22 + 27)
/* A record that is not whole has less than so many bytes. */
#define TLS_RECORD_MAX (5 + TLS_TEXT_MAX + 256)
/* The last record of a connection. */
#define TLS_GOODBYE_LEN 24

struct tls_records;

enum tls_content { TLS_ALERT = 21, TLS_HANDSHAKE = 22, TLS_TEXT = 23 };

/* Suites with SHA-256. */
enum tls_suite { TLS_AES_128_GCM, TLS_CHACHA20_POLY1305, TLS_SUITES };

struct tls_keys {
	enum tls_suite suite;
	bool client;             /* this end */
	uint8_t in[32], out[32]; /* application traffic secrets */
	uint64_t n_in, n_out;    /* records that went under them */
};

/* Of connections of this context the keys are remembered until they are taken over; unless this
 * OpenSSL was found not to tell what is needed, and then they cannot be. */
void tls_records_watch(SSL_CTX *ctx);
/* What has come behind all that OpenSSL has taken; it goes with the connection, so who takes over
 * copies it. How many bytes. */
size_t tls_ahead(const SSL *tls, const uint8_t **bytes);
/* The keys of a connection, which may be freed then. NULL: it has to stay with OpenSSL
 * (another version or suite, keys that changed since, a record that is half read, text that is
 * unread), or there is no memory. */
struct tls_records *tls_records_take(SSL *tls);
struct tls_records *tls_records_new(const struct tls_keys *keys);
void tls_records_free(struct tls_records *records);

/* One record with `len` bytes (TLS_TEXT_MAX at most); `to` has room for TLS_SEAL_MORE more. How
 * long it is; 0: OpenSSL failed. */
size_t tls_records_seal(struct tls_records *records, enum tls_content content, const uint8_t *bytes,
	size_t len, uint8_t *to);
/* Opens the whole records in the `*len` bytes at `in`, whose length `*len` is then; their text goes
 * to `to`, which has room for `*len` bytes and does not overlap. How much text that is; -EPROTO:
 * the connection cannot go on. */
ssize_t tls_records_open(struct tls_records *records, const uint8_t *in, size_t *len, uint8_t *to);
/* The other side said goodbye; what came behind it is ignored. */
bool tls_records_ended(const struct tls_records *records);
/* Our goodbye, or why the connection cannot go on. */
size_t tls_records_goodbye(struct tls_records *records, uint8_t to[static TLS_GOODBYE_LEN]);

#pragma GCC visibility pop
