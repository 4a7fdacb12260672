/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "conf.h"
#include "node.h"

static const char *const with[] = {
	"derp1.example", "derp2.example:8443/10.0.0.2", "derp3.example/inside.example", "10.0.0.4"};
static char pin[] = "sha256-raw:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
static struct derp_mesh_peer peers[] = {
	{.url = (char *)"http://derp5.example:3340"},
	{.url = (char *)"https://derp6.example",
		.address = (char *)"2001:db8::6",
		.cert_name = pin},
};
static const struct derp_mesh_conf conf = {
	.psk_file = (char *)"key", .with = {(void *)with, 4}, .peers = {peers, 2}};

static void test_nodes(void **state)
{
	static const struct {
		const char *host, *dial, *cert_name;
		uint16_t port;
		unsigned addresses;
		bool plain;
	} wanted[] = {
		{"derp1.example", "derp1.example", "", 443, 0, false},
		{"derp2.example", "", "", 8443, 1, false},
		{"derp3.example", "inside.example", "", 443, 0, false},
		{"10.0.0.4", "", "", 443, 1, false},
		{"derp5.example", "derp5.example", "", 3340, 0, true},
		{"derp6.example", "", pin, 443, 1, false},
	};
	char dial[DERP_HOST_MAX + 1];
	struct derp_target target;

	(void)state;
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		assert_int_equal(derp_mesh_node_at(&conf, i, &target, dial, NULL), 0);
		assert_string_equal(target.host, wanted[i].host);
		assert_string_equal(dial, wanted[i].dial);
		assert_string_equal(target.cert_name, wanted[i].cert_name);
		assert_int_equal(target.port, wanted[i].port);
		assert_int_equal(target.n_addresses, wanted[i].addresses);
		assert_int_equal(target.plain, wanted[i].plain);
		if (target.n_addresses)
			assert_int_equal(target.addresses[0].port, wanted[i].port);
	}
	assert_int_equal(derp_mesh_node_at(&conf, 6, &target, dial, NULL), -ENOENT);
}

static void test_bad_nodes(void **state)
{
	static const char *const bad[] = {"", "/", "a/", "a/b/c", "https://a", "a/b:443", "a b"};
	static struct derp_mesh_peer bad_peers[] = {{.url = (char *)"ftp://a"},
		{.url = (char *)"a", .address = (char *)"b c"},
		{.url = (char *)"a", .cert_name = (char *)"sha256-raw:00"}};
	const struct derp_mesh_conf wrong = {.with = {(void *)bad, 7}, .peers = {bad_peers, 3}};
	char dial[DERP_HOST_MAX + 1];
	struct derp_target target;

	(void)state;
	for (size_t i = 0; i < 10; i++) {
		struct err err = {0};

		assert_int_equal(derp_mesh_node_at(&wrong, i, &target, dial, &err), -EINVAL);
		assert_true(err.msg[0]);
	}
}

static void test_key(void **state)
{
	static const char text[] =
		" 00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF\n";
	struct symmetric_key key;

	(void)state;
	assert_int_equal(derp_mesh_key_parse(&key, text, sizeof(text) - 1), 0);
	assert_int_equal(key.bytes[1], 0x11);
	assert_int_equal(key.bytes[31], 0xff);
	assert_int_equal(derp_mesh_key_parse(&key, text, sizeof(text) - 3), -EINVAL);
	assert_int_equal(derp_mesh_key_parse(&key, "", 0), -EINVAL);
	assert_int_equal(
		derp_mesh_key_parse(&key,
			"0000000000000000000000000000000000000000000000000000000000000000", 64),
		-EINVAL);
}

static int read_node(struct derp_node *node, const char *text, struct err *err)
{
	json_t *json = json_loads(text, 0, NULL);
	int rc;

	assert_non_null(json);
	rc = derp_node_read(node, json, err);
	json_decref(json);
	return rc;
}

static void test_map_node(void **state)
{
	static const char *const bad[] = {"{}", "{\"HostName\":\"a b\"}",
		"{\"HostName\":\"a\",\"DERPPort\":70000}", "{\"HostName\":\"a\",\"DERPPort\":-1}",
		"{\"HostName\":\"a\",\"STUNPort\":-2}", "{\"HostName\":\"a\",\"IPv4\":\"b\"}",
		"{\"HostName\":\"a\",\"CertName\":\"sha256-raw:0\"}"};
	struct derp_node node;

	(void)state;
	assert_int_equal(
		read_node(&node, "{\"Name\":\"1a\",\"HostName\":\"derp.example\"}", NULL), 0);
	assert_string_equal(node.name, "1a");
	assert_string_equal(node.target.host, "derp.example");
	assert_int_equal(node.target.port, 443);
	assert_int_equal(node.stun_port, 3478);
	assert_int_equal(node.target.n_addresses, 0);
	assert_int_equal(read_node(&node,
				 "{\"HostName\":\"10.0.0.1\",\"IPv6\":\"none\",\"STUNPort\":-1,"
				 "\"DERPPort\":8443,\"InsecureForTests\":true,\"STUNOnly\":true}",
				 NULL),
		0);
	assert_int_equal(node.target.n_addresses, 1);
	assert_int_equal(node.target.addresses[0].port, 8443);
	assert_int_equal(node.stun_port, 0);
	assert_true(node.target.insecure && node.stun_only);
	assert_int_equal(read_node(&node,
				 "{\"HostName\":\"a\",\"IPv4\":\"10.0.0.1\",\"IPv6\":"
				 "\"2001:db8::1\"}",
				 NULL),
		0);
	assert_int_equal(node.target.n_addresses, 2);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = {0};

		assert_int_equal(read_node(&node, bad[i], &err), -EINVAL);
		assert_true(err.msg[0]);
	}
}

static void test_find_in_map(void **state)
{
	static const char text[] =
		"{\"Regions\":{\"1\":{\"RegionID\":1,\"RegionCode\":\"nyc\",\"Nodes\":["
		"{\"Name\":\"1s\",\"HostName\":\"stun.example\",\"STUNOnly\":true},"
		"{\"Name\":\"1a\",\"HostName\":\"derp1.example\"}]},"
		"\"900\":{\"RegionID\":900,\"RegionCode\":\"own\",\"Nodes\":["
		"{\"Name\":\"900a\",\"HostName\":\"own.example\"}]},\"2\":null}}";
	static const struct {
		const char *name, *host;
	} wanted[] = {
		{"1", "derp1.example"},
		{"NYC", "derp1.example"},
		{"1s", "stun.example"},
		{"900", "own.example"},
		{"900a", "own.example"},
		{"OWN.example", "own.example"},
		{"2", NULL},
		{"", NULL},
		{"90", NULL},
	};
	json_t *map = json_loads(text, 0, NULL);

	(void)state;
	assert_non_null(map);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		const json_t *node = derp_node_find(map, wanted[i].name);

		assert_int_equal(node != NULL, wanted[i].host != NULL);
		if (node)
			assert_string_equal(json_string_value(json_object_get(node, "HostName")),
				wanted[i].host);
	}
	json_decref(map);
	assert_null(derp_node_find(NULL, "1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nodes),
		cmocka_unit_test(test_bad_nodes),
		cmocka_unit_test(test_key),
		cmocka_unit_test(test_map_node),
		cmocka_unit_test(test_find_in_map),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
