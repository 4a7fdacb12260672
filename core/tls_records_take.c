/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a connection of OpenSSL's to its keys. Runs on: the connection's thread; contexts on the
 * control loop.
 *
 * OpenSSL tells traffic secrets to a log of keys, or derives them by our key schedule, and each
 * record's header to who watches messages; of how many records went under a key it tells nothing,
 * so they are counted (and that this is right is tried: tls_records_check.c).
 */
#include <tailplane/tls_records.h>

#include <openssl/ssl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "secret.h"
#include "tls_records_check.h"

struct side {
	uint8_t secret[32];
	uint64_t n;
	bool known;
};

struct watched {
	struct side client, server; /* what it sends */
	bool changed;               /* since the handshake */
};

static int slot = -1;

static void watched_free(
	void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
	(void)parent, (void)ad, (void)index, (void)argl, (void)argp;
	if (ptr)
		secret_zero(ptr, sizeof(struct watched));
	free(ptr);
}

static void make_slot(void)
{
	slot = SSL_get_ex_new_index(0, NULL, NULL, NULL, watched_free);
}

/* NULL: this connection's records are not counted. */
static struct watched *watched_of(const SSL *tls)
{
	return slot < 0 ? NULL : SSL_get_ex_data(tls, slot);
}

static void watched_begin(SSL *tls)
{
	struct watched *watched = calloc(1, sizeof(*watched));

	if (watched && !SSL_set_ex_data(tls, slot, watched))
		free(watched);
}

/* LABEL RANDOM SECRET, the last two in hex. */
static void side_read(struct side *side, const char *line, const char *label)
{
	size_t len = strlen(label), n;
	const char *end;

	if (strncmp(line, label, len) != 0 || line[len] != ' ')
		return;
	line = strchr(line + len + 1, ' ');
	side->known = line &&
		      sodium_hex2bin(side->secret, sizeof(side->secret), line + 1, strlen(line + 1),
			      NULL, &n, &end) == 0 &&
		      n == sizeof(side->secret) && !*end;
}

static void on_secret(const SSL *tls, const char *line)
{
	struct watched *watched = watched_of(tls);

	if (!watched)
		return;
	side_read(&watched->client, line, "CLIENT_TRAFFIC_SECRET_0");
	side_read(&watched->server, line, "SERVER_TRAFFIC_SECRET_0");
}

static void on_handshake(SSL *tls, struct watched *watched, uint8_t type)
{
	if (type == SSL3_MT_CLIENT_HELLO && !watched)
		watched_begin(tls);
	if (type == SSL3_MT_KEY_UPDATE && watched)
		watched->changed = true;
}

static void on_message(
	int written, int version, int content, const void *bytes, size_t len, SSL *tls, void *arg)
{
	struct watched *watched = watched_of(tls);
	const uint8_t *at = bytes;
	struct side *side;

	(void)version, (void)arg;
	if (!len)
		return;
	if (content == SSL3_RT_HANDSHAKE)
		on_handshake(tls, watched, at[0]);
	if (!watched || content != SSL3_RT_HEADER || at[0] != SSL3_RT_APPLICATION_DATA)
		return;
	side = !!written == !!SSL_is_server(tls) ? &watched->server : &watched->client;
	side->n += side->known;
}

void tls_records_count(SSL_CTX *ctx)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_slot);
	SSL_CTX_set_msg_callback(ctx, on_message);
}

void tls_records_listen(SSL_CTX *ctx)
{
	tls_records_count(ctx);
	SSL_CTX_set_keylog_callback(ctx, on_secret);
}

static _Thread_local const SSL *followed;

void tls_records_follow(const SSL *tls)
{
	followed = tls;
}

void tls_records_secret(
	const uint8_t *label, size_t label_len, const uint8_t *secret, size_t secret_len)
{
	static const char of_client[] = "c ap traffic", of_server[] = "s ap traffic";
	struct watched *watched = followed ? watched_of(followed) : NULL;
	struct side *side;

	if (!watched || secret_len != sizeof(side->secret) || label_len != strlen(of_client))
		return;
	if (memcmp(label, of_client, label_len) == 0)
		side = &watched->client;
	else if (memcmp(label, of_server, label_len) == 0)
		side = &watched->server;
	else
		return;
	memcpy(side->secret, secret, secret_len);
	side->known = true;
}

static bool suite_of(const SSL *tls, enum tls_suite *suite)
{
	switch (SSL_CIPHER_get_id(SSL_get_current_cipher(tls))) {
	case TLS1_3_CK_AES_128_GCM_SHA256:
		*suite = TLS_AES_128_GCM;
		return true;
	case TLS1_3_CK_CHACHA20_POLY1305_SHA256:
		*suite = TLS_CHACHA20_POLY1305;
		return true;
	default:
		return false;
	}
}

struct tls_records *tls_records_take(SSL *tls)
{
	struct watched *watched = watched_of(tls);
	const struct side *in, *out;
	struct tls_records *records;
	struct tls_keys keys = {.client = !SSL_is_server(tls)};

	/* between two records, and nothing of the last one left */
	if (!watched || !watched->client.known || !watched->server.known || watched->changed ||
		SSL_in_init(tls) || SSL_has_pending(tls) ||
		strcmp(SSL_rstate_string(tls), "RH") != 0 || !suite_of(tls, &keys.suite))
		return NULL;
	in = keys.client ? &watched->server : &watched->client;
	out = keys.client ? &watched->client : &watched->server;
	memcpy(keys.in, in->secret, sizeof(keys.in));
	memcpy(keys.out, out->secret, sizeof(keys.out));
	keys.n_in = in->n;
	keys.n_out = out->n;
	records = tls_records_new(&keys);
	secret_zero(&keys, sizeof(keys));
	if (records) /* nobody takes them again: no number may go under a key twice */
		secret_zero(watched, sizeof(*watched));
	return records;
}
