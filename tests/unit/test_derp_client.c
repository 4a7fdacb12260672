/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "derp_relay_end.h"
#include "http.h"
#include "target.h"

/* ---- where it is ---- */

static void test_target(void **state)
{
	static const struct {
		const char *url, *host;
		uint16_t port;
		bool plain;
		unsigned addresses;
	} good[] = {
		{"https://derp1.example", "derp1.example", 443, false, 0},
		{"https://derp1.example/derp", "derp1.example", 443, false, 0},
		{"derp1.example:8443", "derp1.example", 8443, false, 0},
		{"http://10.0.0.1:3340/derp", "10.0.0.1", 3340, true, 1},
		{"http://10.0.0.1/", "10.0.0.1", 80, true, 1},
		{"https://[2001:db8::1]:444", "2001:db8::1", 444, false, 1},
		{"https://[2001:db8::1]", "2001:db8::1", 443, false, 1},
		{"2001:db8::1", "2001:db8::1", 443, false, 1},
	};
	static const char *const bad[] = {"", "https://", "ftp://x", "https://x/other",
		"https://a b", "https://x:0", "https://x:65536", "https://x:y", "https://[::1",
		"https://[x]", "https://a\r\nb", "https://user@x"};
	struct derp_target target;
	char longest[DERP_HOST_MAX + 2];

	(void)state;
	for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct err err = {0};

		assert_int_equal(derp_target_parse(&target, good[i].url, &err), 0);
		assert_string_equal(target.host, good[i].host);
		assert_int_equal(target.port, good[i].port);
		assert_int_equal(target.plain, good[i].plain);
		assert_int_equal(target.n_addresses, good[i].addresses);
		if (target.n_addresses)
			assert_int_equal(target.addresses[0].port, good[i].port);
	}
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = {0};

		assert_int_equal(derp_target_parse(&target, bad[i], &err), -EINVAL);
		assert_true(err.msg[0]);
	}
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(derp_target_parse(&target, longest + 1, NULL), 0);
	memset(longest, 'x', sizeof(longest) - 1);
	assert_int_equal(strlen(longest), DERP_HOST_MAX + 1);
	assert_int_equal(derp_target_parse(&target, longest, NULL), -EINVAL);
}

static void test_cert_name(void **state)
{
	static const char digits[] =
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	char pin[sizeof(DERP_CERT_PIN) + sizeof(digits) + 1];

	(void)state;
	snprintf(pin, sizeof(pin), "%s%s", DERP_CERT_PIN, digits);
	assert_true(derp_cert_name_valid(pin));
	assert_true(derp_cert_name_valid("derp.example"));
	assert_false(derp_cert_name_valid(""));
	assert_false(derp_cert_name_valid("a b"));
	assert_false(derp_cert_name_valid("sha256:00"));
	pin[strlen(DERP_CERT_PIN)] = 'A';
	assert_false(derp_cert_name_valid(pin));
	snprintf(pin, sizeof(pin), "%s%s0", DERP_CERT_PIN, digits);
	assert_false(derp_cert_name_valid(pin));
}

/* ---- HTTP ---- */

static void test_request(void **state)
{
	struct derp_target target;
	char text[DERP_REQUEST_MAX];
	size_t n;

	(void)state;
	derp_target_parse(&target, "https://derp.example", NULL);
	n = derp_request_write(text, &target, true);
	assert_int_equal(n, strlen(text));
	assert_string_equal(text,
		"GET /derp HTTP/1.1\r\nHost: derp.example\r\nUser-Agent: tailplane\r\n"
		"Connection: Upgrade\r\nUpgrade: DERP\r\nDerp-Fast-Start: 1\r\n\r\n");
	derp_target_parse(&target, "http://[2001:db8::1]:3340", NULL);
	strcpy(target.ideal, "1a");
	derp_request_write(text, &target, false);
	assert_string_equal(text,
		"GET /derp HTTP/1.1\r\nHost: [2001:db8::1]:3340\r\nUser-Agent: tailplane\r\n"
		"Connection: Upgrade\r\nUpgrade: DERP\r\nIdeal-Node: 1a\r\n\r\n");
}

static void test_response(void **state)
{
	static const char head[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\n\r\nDERP";
	static const char *const bad[] = {"SSH-2.0-OpenSSH", "HTTP/2 101\r\n\r\n",
		"HTTP/1.1 1x1 ok\r\n\r\n", "HTTP/1.1 1011 ok\r\n\r\n", "HTTP/1.1\r\n\r\n",
		"HTTP/1.1 001 ok\r\n\r\n"};
	const size_t len = sizeof(head) - 1 - 4;
	static uint8_t endless[DERP_RESPONSE_MAX];
	struct derp_response response;

	(void)state;
	for (size_t n = 1; n < len; n++)
		assert_int_equal(derp_response_parse((const uint8_t *)head, n, &response), 0);
	for (size_t n = len; n < sizeof(head); n++)
		assert_int_equal(derp_response_parse((const uint8_t *)head, n, &response), len);
	assert_int_equal(response.status, 101);
	assert_string_equal(response.reason, "Switching Protocols");
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(
			derp_response_parse((const uint8_t *)bad[i], strlen(bad[i]), &response),
			-EPROTO);
	assert_int_equal(
		derp_response_parse((const uint8_t *)"HTTP/1.0 200\r\n\r\n", 16, &response), 16);
	assert_string_equal(response.reason, "");
	memset(endless, 'x', sizeof(endless));
	memcpy(endless, "HTTP/1.1 101 x\r\n", 16);
	assert_int_equal(derp_response_parse(endless, sizeof(endless) - 1, &response), 0);
	assert_int_equal(derp_response_parse(endless, sizeof(endless), &response), -EPROTO);
}

/* ---- a session ---- */

struct seen {
	struct relay_end end;
	struct derp_session *session;
	unsigned ups, downs, frames;
	uint8_t type;
	uint32_t len;
	char why[128];
	bool close_at_frame, detach_at_up;
	bool endless; /* behind each frame there is another one */
	struct io_stream *detached;
};

static void on_up(void *user)
{
	struct seen *seen = user;

	seen->ups++;
	if (!seen->detach_at_up)
		return;
	seen->detached = derp_session_detach(seen->session);
	seen->session = NULL;
}

#define LONG 50000
#define ENDLESS_MAX 1000

static void put_long_frame(const struct seen *seen)
{
	static uint8_t frame[DERP_HEADER_LEN + LONG];

	derp_header_put(frame, DERP_HEALTH, LONG);
	assert_int_equal(write(seen->end.fd, frame, sizeof(frame)), sizeof(frame));
}

static void on_frame(void *user, const struct derp_frame *frame)
{
	struct seen *seen = user;

	seen->frames++;
	seen->type = frame->type;
	seen->len = frame->len;
	if (seen->endless) {
		assert_true(seen->frames < ENDLESS_MAX);
		put_long_frame(seen);
	}
	if (!seen->close_at_frame)
		return;
	derp_session_close(seen->session);
	seen->session = NULL;
}

static void on_down(void *user, int error, const char *why)
{
	struct seen *seen = user;

	assert_true(error < 0);
	seen->downs++;
	snprintf(seen->why, sizeof(seen->why), "%s", why);
	derp_session_close(seen->session);
	seen->session = NULL;
}

static const struct derp_session_ops ops = {.up = on_up, .frame = on_frame, .down = on_down};

static int setup(void **state)
{
	static struct seen seen;

	memset(&seen, 0, sizeof(seen));
	relay_end_open(&seen.end);
	*state = &seen;
	return 0;
}

static int teardown(void **state)
{
	struct seen *seen = *state;

	if (seen->session)
		derp_session_close(seen->session);
	relay_end_close(&seen->end);
	return 0;
}

static void begin(struct seen *seen)
{
	const struct derp_server_info info = {.version = 2};

	seen->session = relay_end_session(&seen->end, &ops, seen);
	relay_end_greet(&seen->end, &info);
	assert_int_equal(seen->ups, 1);
}

static void test_greeting(void **state)
{
	struct seen *seen = *state;
	struct derp_client_info info;

	seen->session = relay_end_session(&seen->end, &ops, seen);
	relay_end_turns(&seen->end, 2);
	assert_int_equal(derp_session_send(seen->session, DERP_PING, NULL, 0), -ENOTCONN);
	relay_end_server_key(&seen->end);
	relay_end_take_info(&seen->end, &info);
	assert_int_equal(info.version, 2);
	assert_true(info.can_ack_pings && !info.has_mesh_key && !info.is_prober);
	assert_int_equal(seen->ups, 0);
	relay_end_server_info(&seen->end, &(struct derp_server_info){.version = 2});
	assert_int_equal(seen->ups, 1);
	assert_true(derp_session_is_up(seen->session));
	assert_memory_equal(derp_session_server(seen->session), &seen->end.public_key, 32);
}

static void test_fast(void **state)
{
	struct seen *seen = *state;
	struct derp_client_info info;

	seen->end.dialled.fast = true;
	seen->end.dialled.server = seen->end.public_key;
	seen->session = relay_end_session(&seen->end, &ops, seen);
	relay_end_take_info(&seen->end, &info);
	relay_end_server_key(&seen->end);
	relay_end_server_info(&seen->end, &(struct derp_server_info){.version = 2});
	assert_int_equal(seen->ups, 1);
}

static void test_other_key_than_certificate(void **state)
{
	struct seen *seen = *state;

	seen->end.dialled.fast = true;
	memset(seen->end.dialled.server.bytes, 9, 32);
	seen->session = relay_end_session(&seen->end, &ops, seen);
	relay_end_turns(&seen->end, 2);
	relay_end_server_key(&seen->end);
	assert_int_equal(seen->downs, 1);
	assert_non_null(strstr(seen->why, "certificate"));
}

static void test_no_relay(void **state)
{
	struct seen *seen = *state;

	seen->session = relay_end_session(&seen->end, &ops, seen);
	relay_end_frame(&seen->end, DERP_KEEP_ALIVE, NULL, 0);
	assert_int_equal(seen->downs, 1);
	assert_int_equal(seen->ups, 0);
}

static void test_zero_key(void **state)
{
	struct seen *seen = *state;

	memset(&seen->end.public_key, 0, 32);
	seen->session = relay_end_session(&seen->end, &ops, seen);
	relay_end_server_key(&seen->end);
	assert_int_equal(seen->downs, 1);
}

static void test_refused(void **state)
{
	struct seen *seen = *state;

	seen->session = relay_end_session(&seen->end, &ops, seen);
	relay_end_server_key(&seen->end);
	shutdown(seen->end.fd, SHUT_WR);
	relay_end_turns(&seen->end, 2);
	assert_int_equal(seen->downs, 1);
	assert_non_null(strstr(seen->why, "admit"));
}

/* The client's key may be known to who answers, and so what it can open: an answer that is there
 * before the question was sent is none. */
static void test_answer_before_the_question(void **state)
{
	struct seen *seen = *state;
	uint8_t bytes[DERP_HEADER_LEN + DERP_SERVER_KEY_LEN + DERP_INFO_FRAME_MAX];
	size_t len = derp_server_key_put(bytes, seen->end.public_key.bytes);
	struct public_key client;
	ssize_t n;

	x25519_public(&client, &seen->end.client_key);
	assert_true(derp_box_key(&seen->end.box, &seen->end.key, &client));
	n = derp_server_info_seal(bytes + len, DERP_INFO_FRAME_MAX,
		&(struct derp_server_info){.version = 2}, &seen->end.box);
	seen->detach_at_up = true;
	seen->session = relay_end_session(&seen->end, &ops, seen);
	relay_end_say(&seen->end, bytes, len + (size_t)n);
	assert_int_equal(seen->ups, 0);
	assert_int_equal(seen->downs, 1);
}

static void test_forged_info(void **state)
{
	struct seen *seen = *state;
	uint8_t junk[100] = {1};

	seen->session = relay_end_session(&seen->end, &ops, seen);
	relay_end_server_key(&seen->end);
	relay_end_frame(&seen->end, DERP_SERVER_INFO, junk, sizeof(junk));
	assert_int_equal(seen->downs, 1);
	assert_int_equal(seen->ups, 0);
}

static void test_frames(void **state)
{
	struct seen *seen = *state;
	uint8_t *payload = malloc(DERP_PACKET_MAX + 32), *heard;
	size_t len;

	begin(seen);
	memset(payload, 7, DERP_PACKET_MAX + 32);
	relay_end_frame(&seen->end, DERP_RECV_PACKET, payload, DERP_PACKET_MAX + 32);
	assert_int_equal(seen->frames, 1);
	assert_int_equal(seen->len, DERP_PACKET_MAX + 32);
	relay_end_frame(&seen->end, DERP_KEEP_ALIVE, NULL, 0);
	relay_end_frame(&seen->end, 0x77, payload, 3);
	assert_int_equal(seen->frames, 2);
	relay_end_frame(&seen->end, DERP_PING, "01234567xyz", 11);
	heard = relay_end_hear(&seen->end, DERP_PONG, &len);
	assert_int_equal(len, 8);
	assert_memory_equal(heard, "01234567", 8);
	relay_end_frame(&seen->end, DERP_PING, "0123456", 7); /* too short: nothing to say */
	relay_end_turns(&seen->end, 2);
	assert_int_equal(read(seen->end.fd, payload, 1), -1);
	free(payload);
}

/* Each byte alone, and two frames in one write. */
static void test_pieces(void **state)
{
	static const uint8_t two[] = {DERP_HEALTH, 0, 0, 0, 2, 'h', 'i', DERP_HEALTH, 0, 0, 0, 0};
	struct seen *seen = *state;

	begin(seen);
	for (unsigned i = 0; i < sizeof(two); i++)
		relay_end_say(&seen->end, two + i, 1);
	assert_int_equal(seen->frames, 2);
	relay_end_say(&seen->end, two, sizeof(two));
	assert_int_equal(seen->frames, 4);
	assert_int_equal(seen->len, 0);
}

static void test_too_long(void **state)
{
	static const uint8_t head[] = {DERP_RECV_PACKET, 0, 0x10, 0, 1};
	struct seen *seen = *state;

	begin(seen);
	relay_end_say(&seen->end, head, sizeof(head));
	assert_int_equal(seen->downs, 1);
	assert_non_null(strstr(seen->why, "too long"));
}

/* Who sends as fast as we read has a share of each turn of the loop, and no more. */
static void test_the_loop_goes_on(void **state)
{
	struct seen *seen = *state;

	begin(seen);
	put_long_frame(seen);
	seen->endless = true;
	for (unsigned turns = 1; turns < 10; turns++) {
		unsigned before = seen->frames;

		relay_end_turns(&seen->end, 1);
		assert_in_range(seen->frames - before, 1, 30);
	}
	seen->endless = false;
}

static void test_closed_in_callback(void **state)
{
	static const uint8_t two[] = {DERP_HEALTH, 0, 0, 0, 0, DERP_HEALTH, 0, 0, 0, 0};
	struct seen *seen = *state;

	begin(seen);
	seen->close_at_frame = true;
	relay_end_say(&seen->end, two, sizeof(two));
	assert_int_equal(seen->frames, 1);
	assert_int_equal(seen->downs, 0);
}

/* What came behind ServerInfo, whole or not, goes along. */
static void test_detach(void **state)
{
	static const uint8_t more[] = {DERP_HEALTH, 0, 0, 0, 0, DERP_PEER_GONE, 0};
	struct seen *seen = *state;
	struct derp_client_info info;
	uint8_t bytes[DERP_INFO_FRAME_MAX + sizeof(more)], back[32];
	ssize_t n;

	seen->detach_at_up = true;
	seen->session = relay_end_session(&seen->end, &ops, seen);
	relay_end_server_key(&seen->end);
	relay_end_take_info(&seen->end, &info);
	n = derp_server_info_seal(bytes, DERP_INFO_FRAME_MAX,
		&(struct derp_server_info){.version = 2}, &seen->end.box);
	memcpy(bytes + n, more, sizeof(more));
	relay_end_say(&seen->end, bytes, (size_t)n + sizeof(more));
	assert_non_null(seen->detached);
	assert_int_equal(io_stream_read(seen->detached, back, sizeof(back)), sizeof(more));
	assert_memory_equal(back, more, sizeof(more));
	relay_end_say(&seen->end, "x", 1);
	assert_int_equal(io_stream_read(seen->detached, back, sizeof(back)), 1);
	io_stream_close(seen->detached);
	free(seen->detached);
	assert_int_equal(seen->frames + seen->downs, 0);
}

static void test_limit(void **state)
{
	const struct derp_server_info info = {
		.version = 2, .token_bucket_bytes_per_second = 1, .token_bucket_bytes_burst = 1000};
	struct seen *seen = *state;

	seen->session = relay_end_session(&seen->end, &ops, seen);
	relay_end_greet(&seen->end, &info);
	assert_true(derp_session_allows(seen->session, 495));
	assert_true(derp_session_allows(seen->session, 490));
	assert_false(derp_session_allows(seen->session, 495));
}

/* A relay that takes nothing costs a bounded buffer. */
static void test_full(void **state)
{
	static uint8_t packet[DERP_PACKET_MAX];
	const struct iovec part = {.iov_base = packet, .iov_len = sizeof(packet)};
	struct seen *seen = *state;
	unsigned sent = 0;
	int rc;

	begin(seen);
	while ((rc = derp_session_send(seen->session, DERP_SEND_PACKET, &part, 1)) == 0 &&
		sent < 1000) {
		sent++;
		relay_end_turns(&seen->end, 1);
	}
	assert_int_equal(rc, -EAGAIN);
	assert_true(sent >= 7 && sent < 100);
	assert_int_equal(seen->downs, 0);
}

int main(void)
{
#define SESSION_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_target),
		cmocka_unit_test(test_cert_name),
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_response),
		SESSION_TEST(test_greeting),
		SESSION_TEST(test_fast),
		SESSION_TEST(test_other_key_than_certificate),
		SESSION_TEST(test_no_relay),
		SESSION_TEST(test_zero_key),
		SESSION_TEST(test_refused),
		SESSION_TEST(test_answer_before_the_question),
		SESSION_TEST(test_forged_info),
		SESSION_TEST(test_frames),
		SESSION_TEST(test_pieces),
		SESSION_TEST(test_too_long),
		SESSION_TEST(test_the_loop_goes_on),
		SESSION_TEST(test_closed_in_callback),
		SESSION_TEST(test_detach),
		SESSION_TEST(test_limit),
		SESSION_TEST(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
