/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Readers that are slower than what is sent to them: who goes on is kept, however slow; who stands
 * still is closed. Plain, with TLS by the relay's own records, and by OpenSSL.
 */
#include <arpa/inet.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

#include "derp_tls.h"

/* So slow that the relay's socket, which wants room for 64 KiB before it wakes anybody, takes
 * longer than the relay waits; a small window moves much more often. */
#define TIMEOUT (2 * SECOND)
#define LONG (5 * SECOND)
#define BYTES_A_SECOND 25000
#define WINDOW 8192

#define HELD_MAX (512 << 10) /* by the kernel, for a reader that takes little */

static uint8_t big[DERP_PACKET_MAX];
static int relays_end; /* of the connection made last */

static int start(void **state)
{
	(void)state;
	world_start();
	world_conf.write_timeout = TIMEOUT;
	world_configure();
	return 0;
}

/* ---- clients, by TCP and with a small window ---- */

static void connect_slow(struct client *client, unsigned loop, const struct arrival *like)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0), window = WINDOW;

	client->fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof(window));
	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	assert_int_equal(connect(client->fd, (struct sockaddr *)&at, sizeof(at)), 0);
	relays_end = accept(listener, NULL, NULL);
	world_give(loop, relays_end, client->fd, like);
	close(listener);
}

static void join_slow(struct client *client, unsigned loop)
{
	client_key(client);
	connect_slow(client, loop, NULL);
	expect_frame(client, DERP_SERVER_KEY, DERP_SERVER_KEY_LEN);
	client_info(client, NULL);
	expect_server_info(client);
}

/* ---- readers ---- */

#define READERS 3

static struct client sender, readers[READERS];

/* More than their queues and sockets hold, always: what is dropped is their own. */
static void feed(unsigned packets)
{
	for (unsigned i = 0; i < packets; i++)
		for (unsigned r = 0; r < READERS; r++)
			send_packet(&sender, &readers[r], big, 8000);
}

static uint64_t since; /* when they began */
static size_t total;   /* that each has read */

static size_t due(void)
{
	return (size_t)((core_now() - since) * BYTES_A_SECOND / SECOND) - total;
}

static bool is_due(void *arg)
{
	(void)arg;
	return due() > BYTES_A_SECOND / 100;
}

/* What comes is not looked at: a part of a record is as good. */
static void read_due(void)
{
	size_t n = due();

	for (unsigned r = 0; r < READERS; r++)
		assert_int_equal(recv(readers[r].fd, world_payload, n, MSG_WAITALL), n);
	total += n;
}

/* The rest of what was sent has been dropped: no buffer of the kernel hides a long queue. And who
 * does not even acknowledge is not waited for as long as TCP would. */
static void assert_little_is_held(int fd)
{
	unsigned user_timeout = 0;
	socklen_t len = sizeof(user_timeout);
	int held = -1;

	assert_int_equal(ioctl(fd, SIOCOUTQ, &held), 0);
	assert_in_range(held, 1, HELD_MAX);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, &len), 0);
	assert_int_equal(user_timeout, 15000);
}

static bool are_given_up(void *arg)
{
	(void)arg;
	return figures().write_timeouts == READERS;
}

static void test_slow_is_not_still(void **state)
{
	SSL *ours, *openssl;
	int plain;

	(void)state;
	client_new(&sender, 0);
	join_slow(&readers[0], 0);
	plain = relays_end;
	ours = tls_join(&readers[1], 1, TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", connect_slow);
	openssl = tls_join(&readers[2], 0, TLS1_2_VERSION, "TLS_AES_128_GCM_SHA256", connect_slow);
	feed(150);
	ping(&sender);
	assert_little_is_held(plain);
	for (since = core_now(); core_now() < since + LONG; feed(1)) {
		world_until(is_due, NULL);
		read_due();
	}
	ping(&sender);
	assert_int_equal(figures().write_timeouts, 0);
	assert_true(figures().dropped_packets[DERP_DROP_QUEUE_HEAD][DERP_KIND_OTHER] > READERS);
	feed(1);
	world_until(are_given_up, NULL);
	for (unsigned r = 0; r < READERS; r++)
		client_close(&readers[r]);
	client_close(&sender);
	SSL_free(ours);
	SSL_free(openssl);
}

/* ---- round trips ---- */

static bool is_measured(void *arg)
{
	(void)arg;
	return figures().keep_alives_sent > 0;
}

/* On one machine it is the shortest of all. */
static void test_round_trips_are_counted(void **state)
{
	struct client client;
	struct derp_figures seen;

	(void)state;
	world_conf.keep_alive = SECOND / 10;
	world_configure();
	join_slow(&client, 0);
	world_until(is_measured, NULL);
	world_settle();
	seen = figures();
	assert_int_equal(seen.tcp_rtt[0], seen.keep_alives_sent);
	for (unsigned i = 1; i < DERP_RTTS; i++)
		assert_int_equal(seen.tcp_rtt[i], 0);
	client_close(&client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_slow_is_not_still, start, world_end),
		cmocka_unit_test_setup_teardown(test_round_trips_are_counted, start, world_end),
	};

	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
