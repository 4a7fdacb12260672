/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames and what is in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <sodium.h>

#include "info.h"
#include "x25519.h"

/* ---- frames ---- */

static void test_a_frame_is_whole_or_not_there(void **state)
{
	uint8_t bytes[] = {DERP_SEND_PACKET, 0, 0, 0, 3, 'a', 'b', 'c', 'd'};
	struct derp_frame frame;

	(void)state;
	for (size_t len = 0; len < 8; len++) {
		assert_int_equal(derp_frame_get(&frame, bytes, len, 3), 0);
		assert_int_equal(frame.len, len < 5 ? 0 : 3);
	}
	assert_int_equal(derp_frame_get(&frame, bytes, sizeof(bytes), 3), 8);
	assert_int_equal(frame.type, DERP_SEND_PACKET);
	assert_ptr_equal(frame.payload, bytes + 5);
	assert_int_equal(derp_frame_get(&frame, bytes, 5, 2), -EMSGSIZE);
	bytes[1] = 0xff; /* 4 GiB */
	assert_int_equal(derp_frame_get(&frame, bytes, 5, DERP_FRAME_MAX), -EMSGSIZE);
}

static void test_server_key(void **state)
{
	uint8_t frame[DERP_HEADER_LEN + DERP_SERVER_KEY_LEN], key[32];
	static const uint8_t head[] = {
		1, 0, 0, 0, 40, 0x44, 0x45, 0x52, 0x50, 0xf0, 0x9f, 0x94, 0x91};

	(void)state;
	memset(key, 0xab, sizeof(key));
	assert_int_equal(derp_server_key_put(frame, key), sizeof(frame));
	assert_memory_equal(frame, head, sizeof(head));
	assert_ptr_equal(derp_server_key_get(frame + 5, 40), frame + 13);
	assert_ptr_equal(derp_server_key_get(frame + 5, 1000), frame + 13); /* later versions */
	assert_null(derp_server_key_get(frame + 5, 39));
	frame[5] ^= 1;
	assert_null(derp_server_key_get(frame + 5, 40));
}

static void test_presence(void **state)
{
	struct derp_present present = {.port = 0x1234, .flags = DERP_PRESENT_MESH}, back;
	uint8_t frame[DERP_HEADER_LEN + DERP_PEER_PRESENT_LEN];

	(void)state;
	memset(present.key, 1, 32);
	memset(present.address, 2, 16);
	assert_int_equal(derp_peer_present_put(frame, &present), 5 + 51);
	assert_int_equal(frame[4], 51);
	assert_int_equal(frame[5 + 48], 0x12);
	assert_true(derp_peer_present_get(&back, frame + 5, 51));
	assert_memory_equal(&back, &present, sizeof(present));
	assert_true(derp_peer_present_get(&back, frame + 5, 32)); /* an old server's */
	assert_int_equal(back.port, 0);
	assert_int_equal(back.flags, 0);
	assert_true(derp_peer_present_get(&back, frame + 5, 50));
	assert_int_equal(back.port, 0x1234);
	assert_int_equal(back.flags, 0);
	assert_false(derp_peer_present_get(&back, frame + 5, 31));
}

static void test_disco(void **state)
{
	uint8_t packet[62] = "TS\xf0\x9f\x92\xac";

	(void)state;
	assert_true(derp_is_disco(packet, 62));
	assert_false(derp_is_disco(packet, 61));
	packet[5] ^= 1;
	assert_false(derp_is_disco(packet, 62));
}

/* ---- boxes ---- */

static struct private_key ours, theirs;
static struct public_key our_key, their_key;

static int make_keys(void **state)
{
	(void)state;
	assert_true(sodium_init() >= 0);
	memset(&ours, 0x11, sizeof(ours));
	memset(&theirs, 0x22, sizeof(theirs));
	x25519_public(&our_key, &ours);
	x25519_public(&their_key, &theirs);
	return 0;
}

/* What libsodium makes of the same keys. */
static void test_the_box_is_nacls(void **state)
{
	struct symmetric_key key, back;
	uint8_t reference[32];

	(void)state;
	assert_true(derp_box_key(&key, &ours, &their_key));
	assert_true(derp_box_key(&back, &theirs, &our_key));
	assert_int_equal(crypto_box_beforenm(reference, their_key.bytes, ours.bytes), 0);
	assert_memory_equal(key.bytes, reference, 32);
	assert_memory_equal(back.bytes, reference, 32);
	memset(&their_key, 0, sizeof(their_key));
	assert_false(derp_box_key(&key, &ours, &their_key));
	assert_true(secret_is_zero(&key, sizeof(key)));
	x25519_public(&their_key, &theirs);
}

static ssize_t seal(uint8_t *frame, size_t size, const struct derp_client_info *info)
{
	struct symmetric_key key;

	assert_true(derp_box_key(&key, &theirs, &our_key));
	return derp_client_info_seal(frame, size, info, &their_key, &key);
}

static void test_client_info_there_and_back(void **state)
{
	struct derp_client_info info = {.version = 2,
					.has_mesh_key = true,
					.can_ack_pings = true,
					.is_prober = true,
					.app_name = "a \"name\" \\ of ours"},
				back;
	uint8_t frame[DERP_INFO_FRAME_MAX];
	struct symmetric_key key, same;
	struct public_key client;
	ssize_t len;

	(void)state;
	memset(&info.mesh_key, 0x5a, sizeof(info.mesh_key));
	len = seal(frame, sizeof(frame), &info);
	assert_true(len > 0 && frame[0] == DERP_CLIENT_INFO);
	assert_int_equal(derp_be32_get(frame + 1), len - 5);
	assert_int_equal(seal(frame, (size_t)len - 1, &info), -ENOSPC);
	len = seal(frame, (size_t)len, &info);
	assert_int_equal(
		derp_client_info_open(&back, &client, &key, &ours, frame + 5, (size_t)len - 5), 0);
	assert_memory_equal(&client, &their_key, 32);
	assert_true(back.has_mesh_key && back.can_ack_pings && back.is_prober);
	assert_memory_equal(&back.mesh_key, &info.mesh_key, 32);
	assert_string_equal(back.app_name, info.app_name);
	assert_int_equal(back.version, 2);
	assert_true(derp_box_key(&same, &theirs, &our_key));
	assert_memory_equal(&key, &same, 32);
}

static void test_forged_boxes(void **state)
{
	struct derp_client_info info = {.version = 2}, back;
	uint8_t frame[DERP_INFO_FRAME_MAX], copy[DERP_INFO_FRAME_MAX];
	struct symmetric_key key;
	struct public_key client;
	size_t len;

	(void)state;
	len = (size_t)seal(frame, sizeof(frame), &info) - 5;
	for (size_t i = 0; i < len; i++) {
		memcpy(copy, frame + 5, len);
		copy[i] ^= 0x40;
		assert_int_equal(
			derp_client_info_open(&back, &client, &key, &ours, copy, len), -EPROTO);
	}
	for (size_t short_of = 0; short_of < len; short_of++) {
		memcpy(copy, frame + 5, len);
		assert_int_equal(derp_client_info_open(&back, &client, &key, &ours, copy, short_of),
			-EPROTO);
	}
	memcpy(copy, frame + 5, len);
	memset(copy, 0, 32);
	assert_int_equal(derp_client_info_open(&back, &client, &key, &ours, copy, len), -EPROTO);
}

static void test_server_info(void **state)
{
	struct derp_server_info info = {.version = 2}, back;
	uint8_t frame[DERP_INFO_FRAME_MAX];
	struct symmetric_key key;
	ssize_t len;

	(void)state;
	assert_true(derp_box_key(&key, &theirs, &our_key));
	len = derp_server_info_seal(frame, sizeof(frame), &info, &key);
	assert_int_equal(len, 5 + 24 + 16 + 13); /* {"version":2} */
	assert_int_equal(derp_server_info_open(&back, &key, frame + 5, (size_t)len - 5), 0);
	assert_memory_equal(&back, &info, sizeof(info));
	info.token_bucket_bytes_per_second = 1000;
	info.token_bucket_bytes_burst = 70000;
	len = derp_server_info_seal(frame, sizeof(frame), &info, &key);
	assert_int_equal(derp_server_info_open(&back, &key, frame + 5, (size_t)len - 5), 0);
	assert_memory_equal(&back, &info, sizeof(info));
	assert_int_equal(derp_server_info_open(&back, &key, frame + 5, 39), -EPROTO);
}

/* ---- JSON ---- */

static int parse(struct derp_client_info *info, const char *json)
{
	return derp_client_info_parse(info, json, strlen(json));
}

#define HEX64 "0123456789abcdefABCDEF0000000000000000000000000000000000000000ff"

static void test_json_of_clients(void **state)
{
	static const char *const bad[] = {"", "[]", "7", "{", "{\"version\":\"2\"}",
		"{\"meshKey\":\"abc\"}", "{\"MESHKEY\":\"" HEX64 "00\"}", "{\"meshKey\":7}",
		("{\"meshKey\":"
		 "\"zz23456789abcdefabcdef0000000000000000000000000000000000000000ff\"}"),
		"{\"CanAckPings\":1}", "{\"AppName\":[]}", "{\"version\":2}x"};
	struct derp_client_info info;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse(&info, bad[i]), -EINVAL);
		assert_false(info.has_mesh_key);
	}
	assert_int_equal(parse(&info, "{}"), 0);
	assert_int_equal(
		parse(&info, "{\"Version\":2,\"MeshKey\":\"" HEX64 "\",\"canackpings\":true,"
			     "\"ISPROBER\":true,\"unknown\":{\"a\":[1]}}"),
		0);
	assert_true(info.version == 2 && info.has_mesh_key && info.can_ack_pings && info.is_prober);
	assert_int_equal(info.mesh_key.bytes[31], 0xff);
	assert_int_equal(parse(&info, "{\"meshKey\":\"\",\"version\":null}"), 0);
	assert_false(info.has_mesh_key);
	assert_int_equal(parse(&info, "{\"AppName\":\"x\\ny\xc3\xa9\"}"), 0);
	assert_string_equal(info.app_name, "x?y??");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_frame_is_whole_or_not_there),
		cmocka_unit_test(test_server_key),
		cmocka_unit_test(test_presence),
		cmocka_unit_test(test_disco),
		cmocka_unit_test(test_the_box_is_nacls),
		cmocka_unit_test(test_client_info_there_and_back),
		cmocka_unit_test(test_forged_boxes),
		cmocka_unit_test(test_server_info),
		cmocka_unit_test(test_json_of_clients),
	};

	return cmocka_run_group_tests(tests, make_keys, NULL);
}
