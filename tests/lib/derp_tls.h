/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Clients of derp_world.h with TLS: by the relay's own records (AES-128, TLS 1.3) or by OpenSSL
 * (whatever else). */
#include "derp_world.h"
#include "self_signed.h"

static inline SSL_CTX *tls_server_ctx(const char *suite)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	self_sign(ctx);
	SSL_CTX_set_ciphersuites(ctx, suite);
	tls_records_watch(ctx);
	return ctx;
}

/* Both ends of a handshake, over wires in memory; then both have the socket. */
static inline SSL *tls_handshake(SSL_CTX *server, int version, SSL **theirs)
{
	SSL_CTX *client = SSL_CTX_new(TLS_client_method());
	BIO *there = BIO_new(BIO_s_mem()), *back = BIO_new(BIO_s_mem());
	SSL *ours;

	SSL_CTX_set_max_proto_version(client, version);
	ours = SSL_new(client);
	*theirs = SSL_new(server);
	BIO_up_ref(there);
	BIO_up_ref(back);
	SSL_set_bio(ours, back, there);
	SSL_set_bio(*theirs, there, back);
	SSL_set_connect_state(ours);
	SSL_set_accept_state(*theirs);
	for (unsigned i = 0; i < 4; i++) {
		SSL_do_handshake(ours);
		SSL_do_handshake(*theirs);
	}
	SSL_read(ours, world_payload, 1); /* tickets */
	assert_true(SSL_is_init_finished(ours) && SSL_is_init_finished(*theirs));
	assert_true(BIO_pending(there) == 0 && BIO_pending(back) == 0);
	SSL_CTX_free(client);
	return ours;
}

static inline void tls_read_all(SSL *tls, void *to, size_t len)
{
	size_t n;

	for (size_t at = 0; at < len; at += n)
		assert_int_equal(SSL_read_ex(tls, (uint8_t *)to + at, len - at, &n), 1);
}

/* The next frame, which is of that type; its length. */
static inline uint32_t tls_read_frame(SSL *tls, uint8_t type)
{
	uint8_t header[DERP_HEADER_LEN];
	uint32_t len;

	tls_read_all(tls, header, sizeof(header));
	assert_int_equal(header[0], type);
	len = derp_be32_get(header + 1);
	assert_true(len <= sizeof(world_payload));
	tls_read_all(tls, world_payload, len);
	return len;
}

/* `connect` connects the client's socket, and gives its other end to the relay. */
static inline SSL *tls_join(struct client *client, unsigned loop, int version, const char *suite,
	void (*connect)(struct client *client, unsigned loop, const struct arrival *like))
{
	SSL_CTX *ctx = tls_server_ctx(suite);
	struct derp_client_info info = {.version = 2};
	struct derp_server_info answer;
	struct arrival arrival = {0};
	uint8_t frame[DERP_INFO_FRAME_MAX];
	SSL *tls = tls_handshake(ctx, version, &arrival.tls);
	ssize_t len;

	client_key(client);
	connect(client, loop, &arrival);
	SSL_set_fd(tls, client->fd);
	tls_read_frame(tls, DERP_SERVER_KEY);
	len = derp_client_info_seal(frame, sizeof(frame), &info, &client->key, &client->box);
	assert_int_equal(SSL_write(tls, frame, (int)len), len);
	len = tls_read_frame(tls, DERP_SERVER_INFO);
	assert_int_equal(
		derp_server_info_open(&answer, &client->box, world_payload, (size_t)len), 0);
	SSL_CTX_free(ctx);
	return tls;
}
