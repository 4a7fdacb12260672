/* SPDX-License-Identifier: BSD-3-Clause */
/* The STUN server on real sockets of the loopback interface, over two I/O loops. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <tailplane/loop.h>

#include "io_life.h"
#include "stun.h"
#include "stun_server.h"

#define LOOPS 2
#define CLIENTS 32 /* enough for both loops to have some */
#define BURST 100  /* more than one batch */
#define WAIT_MS 20000
#define SILENCE_MS 100

static const uint8_t txid[STUN_TXID_SIZE] = "transaction";

static int client(const char *text)
{
	struct net_endpoint to;
	struct sockaddr_storage ss;
	socklen_t len;
	int fd;

	assert_int_equal(net_endpoint_parse(&to, text), 0);
	to.port = stun_port();
	len = net_endpoint_to_sockaddr(&to, &ss);
	fd = socket(to.addr.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	/* connected: an answer from elsewhere would not be seen */
	assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
	return fd;
}

static void ask(int fd)
{
	uint8_t request[STUN_REQUEST_SIZE];

	stun_request_write(request, txid);
	assert_int_equal(send(fd, request, sizeof(request), 0), sizeof(request));
}

static bool answered(int fd, int wait_ms)
{
	struct pollfd poll_one = {.fd = fd, .events = POLLIN};
	uint8_t bytes[256];
	struct net_endpoint seen, own;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	ssize_t n;

	if (poll(&poll_one, 1, wait_ms) != 1)
		return false;
	n = recv(fd, bytes, sizeof(bytes), 0);
	assert_true(n > 0 && stun_answer_read(bytes, (size_t)n, txid, &seen));
	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	assert_int_equal(net_endpoint_from_sockaddr(&own, (struct sockaddr *)&ss), 0);
	assert_true(net_endpoint_equal(&seen, &own));
	return true;
}

static bool asks_and_is_answered(const char *address)
{
	int fd = client(address);
	bool yes;

	ask(fd);
	yes = answered(fd, WAIT_MS);
	close(fd);
	return yes;
}

static void open_sockets(const char *address)
{
	char *items[] = {(char *)address};
	struct setting_list list = {items, 1};
	struct err err = {0};

	if (stun_start(&list, &err))
		fail_msg("%s", err.msg);
}

static void begin(const char *address)
{
	open_sockets(address);
	stun_speak(true);
}

static bool has_ipv6(void)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool yes = fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof(any)) == 0;

	if (fd >= 0)
		close(fd);
	return yes;
}

/* An answer may arrive before it is counted. */
static void assert_counted(uint64_t answers)
{
	for (unsigned ms = 0; ms < WAIT_MS && stun_answers() != answers; ms++)
		poll(NULL, 0, 1);
	assert_int_equal(stun_answers(), answers);
}

/* Each client is answered from the address that it asked, whichever loop has it. */
static void test_answers(void **state)
{
	(void)state;
	begin(":0");
	for (unsigned i = 0; i < CLIENTS; i++)
		assert_true(asks_and_is_answered("127.0.0.1:1"));
	assert_true(asks_and_is_answered("127.0.0.77:1"));
	if (has_ipv6())
		assert_true(asks_and_is_answered("[::1]:1"));
	assert_counted(CLIENTS + 1 + has_ipv6());
	stun_stop();
}

/* What waits when it begins to read comes in whole batches; who asks behind them is heard, too. */
static void test_bursts(void **state)
{
	int fd;

	(void)state;
	open_sockets("127.0.0.1:0");
	fd = client("127.0.0.1:1");
	for (unsigned i = 0; i < BURST; i++)
		ask(fd);
	stun_speak(true);
	for (unsigned i = 0; i < BURST; i++)
		assert_true(answered(fd, WAIT_MS));
	for (unsigned i = 0; i < CLIENTS; i++) {
		ask(fd);
		assert_true(answered(fd, WAIT_MS));
	}
	assert_counted(BURST + CLIENTS);
	close(fd);
	stun_stop();
}

/* Told so, it says nothing; what came meanwhile is not answered late. */
static void test_silence(void **state)
{
	int fd;

	(void)state;
	begin("127.0.0.1:0");
	fd = client("127.0.0.1:1");
	stun_speak(false);
	ask(fd);
	assert_false(answered(fd, SILENCE_MS));
	stun_speak(true);
	ask(fd);
	assert_true(answered(fd, WAIT_MS));
	assert_false(answered(fd, SILENCE_MS));
	close(fd);
	stun_stop();
}

/* Other datagrams, also empty and huge ones, get nothing and harm nobody. */
static void test_rubbish(void **state)
{
	static const uint8_t huge[9000];
	int fd;

	(void)state;
	begin("127.0.0.1:0");
	fd = client("127.0.0.1:1");
	assert_int_equal(send(fd, "", 0, 0), 0);
	assert_int_equal(send(fd, huge, sizeof(huge), 0), sizeof(huge));
	assert_int_equal(send(fd, huge, STUN_REQUEST_SIZE, 0), STUN_REQUEST_SIZE);
	ask(fd);
	assert_true(answered(fd, WAIT_MS));
	assert_false(answered(fd, SILENCE_MS));
	assert_counted(1);
	close(fd);
	stun_stop();
}

/* The IP header of the next answer that `raw` sees. */
static struct iphdr answer_header(int raw)
{
	struct pollfd poll_one = {.fd = raw, .events = POLLIN};
	uint8_t packet[256];
	struct iphdr ip;
	struct udphdr udp;

	do {
		assert_int_equal(poll(&poll_one, 1, WAIT_MS), 1);
		assert_true(recv(raw, packet, sizeof(packet), 0) > 0);
		memcpy(&ip, packet, sizeof(ip));
		memcpy(&udp, packet + sizeof(ip), sizeof(udp));
	} while (ntohs(udp.source) != stun_port());
	return ip;
}

/* So an answer has no number, which would tell how many there are. */
static void test_never_fragmented(void **state)
{
	int raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP);
	struct iphdr ip;

	(void)state;
	if (raw < 0) {
		print_message("no raw sockets here: who asks for them is not root\n");
		skip();
	}
	begin("127.0.0.1:0");
	assert_true(asks_and_is_answered("127.0.0.1:1"));
	ip = answer_header(raw);
	assert_int_equal(ntohs(ip.frag_off), IP_DF);
	assert_int_equal(ip.id, 0);
	close(raw);
	stun_stop();
}

static void test_port_taken(void **state)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(any);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1;
	char address[32], *items[] = {address};
	struct setting_list list = {items, 1};
	struct err err = {0};

	(void)state;
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&any, &len), 0);
	snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(any.sin_port));
	assert_int_equal(stun_start(&list, &err), -EADDRINUSE);
	assert_non_null(strstr(err.msg, "stun_listen_addr"));
	close(fd);
}

static int loops_start(void **state)
{
	(void)state;
	io_init();
	io_start(LOOPS);
	return 0;
}

static int loops_stop(void **state)
{
	(void)state;
	io_stop();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_bursts),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_rubbish),
		cmocka_unit_test(test_never_fragmented),
		cmocka_unit_test(test_port_taken),
	};

	return cmocka_run_group_tests(tests, loops_start, loops_stop);
}
