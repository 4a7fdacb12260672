/* SPDX-License-Identifier: BSD-3-Clause */
/* Clients with TLS that mean harm. */
#include "derp_tls.h"

#include <signal.h>

static const struct {
	int version;
	const char *suite;
} ways[] = {
	{TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256"}, /* the relay's own records */
	{TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384"},
	{TLS1_2_VERSION, "TLS_AES_128_GCM_SHA256"},
};
#define WAYS (sizeof(ways) / sizeof(ways[0]))

static void connect_pair(struct client *client, unsigned loop, const struct arrival *like)
{
	client->fd = world_connect(loop, like);
}

static SSL *join(struct client *client, size_t way)
{
	return tls_join(client, 0, ways[way].version, ways[way].suite, connect_pair);
}

static void leave(struct client *client, SSL *tls)
{
	SSL_free(tls);
	client_close(client);
}

/* As test_nobody_fills_the_arena: what is left of a frame's room is less than a record. */
static void test_long_frames(void **state)
{
	static const uint8_t zeroes[16384];
	uint8_t header[DERP_HEADER_LEN];
	struct client client, other;
	SSL *tls;

	(void)state;
	client_new(&other, 0);
	for (size_t way = 0; way < WAYS; way++) {
		tls = join(&client, way);
		derp_header_put(header, DERP_PING, DERP_FRAME_MAX);
		assert_int_equal(SSL_write(tls, header, sizeof(header)), sizeof(header));
		for (size_t sent = 0; sent < DERP_FRAME_MAX; sent += sizeof(zeroes)) {
			if (SSL_write(tls, zeroes, sizeof(zeroes)) <= 0)
				break;
		}
		leave(&client, tls);
	}
	ping(&other);
	world_settle();
	assert_int_equal(figures().protocol_errors, WAYS);
	client_close(&other);
}

/* Who wishes for new keys again and again, and takes no answer, costs little memory. */
static void test_wishes_for_keys(void **state)
{
	uint64_t most = 0;
	struct client client;
	SSL *tls;

	(void)state;
	world_conf.write_timeout = 60 * SECOND;
	world_configure();
	for (size_t way = 0; way < 2; way++) {
		tls = join(&client, way);
		for (unsigned i = 0; i < 100000; i++) {
			if (SSL_key_update(tls, SSL_KEY_UPDATE_REQUESTED) != 1 ||
				SSL_do_handshake(tls) != 1)
				break;
			if (figures().memory_bytes > most)
				most = figures().memory_bytes;
		}
		leave(&client, tls);
	}
	assert_in_range(most, 1, 1 << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_long_frames, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_wishes_for_keys, world_begin, world_end),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
