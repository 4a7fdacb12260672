/* SPDX-License-Identifier: BSD-3-Clause */
/* WebSocket frames, with the examples of RFC 6455. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <tailplane/websocket.h>

static void test_accept(void **state)
{
	char accept[WEBSOCKET_ACCEPT_LEN + 1];

	(void)state;
	assert_int_equal(websocket_accept("dGhlIHNhbXBsZSBub25jZQ==", accept), 0);
	assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	assert_int_equal(websocket_accept("short", accept), -EINVAL);
	assert_int_equal(websocket_accept(NULL, accept), -EINVAL);
}

/* Section 5.7: "Hello", masked; then a masked ping. */
static void test_read(void **state)
{
	uint8_t bytes[] = "\x82\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
			  "\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
			  "\x80\x80\x01\x02\x03\x04";
	struct websocket ws = {0};

	(void)state;
	assert_int_equal(websocket_read(&ws, bytes, sizeof(bytes) - 1), 5);
	assert_memory_equal(bytes, "Hello", 5);
	assert_int_equal(ws.pong_len, 7);
	assert_memory_equal(ws.pong, "\x8a\x05Hello", 7);
}

static void test_every_cut(void **state)
{
	static const uint8_t frames[] =
		"\x02\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
		"\x80\xfe\x00\x05\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
		"\x82\xff\0\0\0\0\0\0\0\x05\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
	const size_t n = sizeof(frames) - 1;

	(void)state;
	for (size_t cut = 1; cut < n; cut++) {
		struct websocket ws = {0};
		uint8_t bytes[sizeof(frames)], out[sizeof(frames)];
		ssize_t first, second;

		memcpy(bytes, frames, n);
		first = websocket_read(&ws, bytes, cut);
		assert_true(first >= 0);
		memcpy(out, bytes, (size_t)first);
		second = websocket_read(&ws, bytes + cut, n - cut);
		assert_int_equal(first + second, 15);
		memcpy(out + first, bytes + cut, (size_t)second);
		assert_memory_equal(out, "HelloHelloHello", 15);
	}
}

static void test_against_the_rules(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		ssize_t rc;
	} cases[] = {
		{"\x82\x05Hello", 7, -EPROTO},                         /* not masked */
		{"\xc2\x80\1\2\3\4", 6, -EPROTO},                      /* a reserved bit */
		{"\x83\x80\1\2\3\4", 6, -EPROTO},                      /* an unknown opcode */
		{"\x8b\x80\1\2\3\4", 6, -EPROTO},                      /* and another */
		{"\x09\x80\1\2\3\4", 6, -EPROTO},                      /* a ping in pieces */
		{"\x89\xfe\0\x7e\1\2\3\4", 8, -EPROTO},                /* a long ping */
		{"\x82\xff\x80\0\0\0\0\0\0\0\1\2\3\4", 14, -EPROTO},   /* absurdly long */
		{"\x82\xff\0\0\0\0\0\x10\0\x01\1\2\3\4", 14, -EPROTO}, /* too long */
		{"\x88\x80\1\2\3\4", 6, -ECONNRESET},
		{"\x88\x82\1\2\3\4\2\xea", 8, -ECONNRESET},
		{"\x8a\x80\1\2\3\4", 6, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct websocket ws = {0};
		uint8_t bytes[16];

		memcpy(bytes, cases[i].bytes, cases[i].n);
		assert_int_equal(websocket_read(&ws, bytes, cases[i].n), cases[i].rc);
	}
}

static void test_headers(void **state)
{
	uint8_t bytes[WEBSOCKET_HEADER_MAX];
	uint8_t *end = bytes + sizeof(bytes);

	(void)state;
	assert_int_equal(websocket_header(end, 125), 2);
	assert_memory_equal(end - 2, "\x82\x7d", 2);
	assert_int_equal(websocket_header(end, 126), 4);
	assert_memory_equal(end - 4, "\x82\x7e\x00\x7e", 4);
	assert_int_equal(websocket_header(end, 65535), 4);
	assert_int_equal(websocket_header(end, 65536), 10);
	assert_memory_equal(end - 10, "\x82\x7f\0\0\0\0\0\1\0\0", 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accept),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_against_the_rules),
		cmocka_unit_test(test_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
