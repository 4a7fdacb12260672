/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests of WireGuard's user-space socket protocol. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "uapi_parse.h"

#define KEY "abababababababababababababababababababababababababababababababab"

static int parse(struct uapi_request *r, const char *text)
{
	return uapi_parse(r, text, strlen(text));
}

static void test_get(void **state)
{
	struct uapi_request r;

	(void)state;
	assert_int_equal(parse(&r, "get=1\n\n"), 0);
	assert_true(r.get);
	uapi_request_fini(&r);
}

static void test_set(void **state)
{
	struct uapi_request r;
	uint8_t key[32];

	(void)state;
	memset(key, 0xab, sizeof(key));
	assert_int_equal(
		parse(&r, "set=1\nprivate_key=" KEY "\nlisten_port=51820\nfwmark=0x10\n"
			  "replace_peers=true\npublic_key=" KEY "\npreshared_key=" KEY
			  "\nendpoint=[fd00::1]:5\npersistent_keepalive_interval=25\n"
			  "replace_allowed_ips=true\nallowed_ip=10.0.0.0/8\nallowed_ip=-fd00::/64\n"
			  "public_key=" KEY "\nremove=true\n\n"),
		0);
	assert_false(r.get);
	assert_memory_equal(r.private_key.bytes, key, 32);
	assert_int_equal(r.listen_port, 51820);
	assert_int_equal(r.fwmark, 16);
	assert_true(r.replace_peers);
	assert_int_equal(r.n_peers, 2);
	assert_memory_equal(r.peers[0].preshared_key.bytes, key, 32);
	assert_int_equal(r.peers[0].endpoint.port, 5);
	assert_int_equal(r.peers[0].keepalive, 25);
	assert_int_equal(r.peers[0].n_allowed_ips, 2);
	assert_false(r.peers[0].allowed_ips[0].remove);
	assert_true(r.peers[0].allowed_ips[1].remove);
	assert_true(r.peers[1].remove);
	uapi_request_fini(&r);
	assert_true(secret_is_zero(&r, sizeof(r)));
}

static void test_many_peers(void **state)
{
	static char text[400 * 100];
	struct uapi_request r;
	size_t at = (size_t)sprintf(text, "set=1\n");

	(void)state;
	for (unsigned i = 0; i < 300; i++)
		at += (size_t)sprintf(text + at, "public_key=%060x%04x\nallowed_ip=10.0.%u.%u/32\n",
			0, i, i >> 8, i & 255);
	sprintf(text + at, "\n");
	assert_int_equal(parse(&r, text), 0);
	assert_int_equal(r.n_peers, 300);
	for (unsigned i = 0; i < 300; i++) {
		assert_int_equal(r.peers[i].public_key.bytes[31], i & 255);
		assert_int_equal(r.peers[i].allowed_ips[0].prefix.addr.bytes[3], i & 255);
	}
	uapi_request_fini(&r);
}

static void test_refused(void **state)
{
	static const char *const bad[] = {"", "\n", "get=1", "get=2\n\n", "get=1\nx=1\n\n",
		"set=1\n", "set=1\nnonsense\n\n", "set=1\nunknown=1\n\n",
		"set=1\nprivate_key=ab\n\n", "set=1\nprivate_key=" KEY "a\n\n",
		"set=1\nlisten_port=65536\n\n", "set=1\nlisten_port=-1\n\n",
		"set=1\nlisten_port=1x\n\n", "set=1\nreplace_peers=yes\n\n",
		"set=1\nallowed_ip=10.0.0.0/8\n\n",
		"set=1\npublic_key=" KEY "\nallowed_ip=10.0.0.0/33\n\n",
		"set=1\npublic_key=" KEY "\nendpoint=name:1\n\n",
		"set=1\npublic_key=" KEY "\nprotocol_version=2\n\n"};

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct uapi_request r;

		if (parse(&r, bad[i]) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
		uapi_request_fini(&r);
	}
}

static void test_long_line_and_nul(void **state)
{
	char text[300] = "set=1\nprivate_key=";
	struct uapi_request r;

	(void)state;
	memset(text + 18, 'a', 200);
	memcpy(text + 218, "\n\n", 3);
	assert_int_equal(parse(&r, text), -EINVAL);
	uapi_request_fini(&r);
	assert_int_equal(uapi_parse(&r, "set=1\nfw\0mark=1\n\n", 18), -EINVAL);
	uapi_request_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_get),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_many_peers),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_long_line_and_nul),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
