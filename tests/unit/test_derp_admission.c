/* SPDX-License-Identifier: BSD-3-Clause */
/* Who is let in: files of keys, the memory of who was known, and the map's text for Headscale. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <tailplane/loop.h>

#include "grace.h"
#include "map_text.h"
#include "verify_file.h"

#define A "nodekey:00000000000000000000000000000000000000000000000000000000000000aa"
#define B "nodekey:00000000000000000000000000000000000000000000000000000000000000BB"
#define SECOND 1000000000ull
#define MANY 100000

static unsigned n_gone;

static size_t count(const char *text)
{
	struct err err = {0};
	size_t n = 0;
	struct public_key *keys = verify_keys_parse(text, strlen(text), &n, &err);

	assert_true(!keys == (err.msg[0] != 0));
	free(keys);
	return keys ? n : SIZE_MAX;
}

static void test_keys(void **state)
{
	(void)state;
	assert_int_equal(count(""), 0);
	assert_int_equal(count("\n# nobody\n\r\n   \n"), 0);
	assert_int_equal(count(A), 1);
	assert_int_equal(count(B " # a comment\n\t" A "\r\n"), 2);
	assert_int_equal(count(A "#\n"), 1);
	assert_int_equal(count(A "0\n"), SIZE_MAX);
	assert_int_equal(count(A " " B "\n"), SIZE_MAX);
	assert_int_equal(count("nodekey:00\n"), SIZE_MAX);
	assert_int_equal(count(A "\nmkey:00\n"), SIZE_MAX);
}

/* ---- a file that changes ---- */

static void look_again(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop, (void)timer, (void)revents;
}

static void turn_until(bool (*done)(const void *arg), const void *arg)
{
	uint64_t deadline = core_now() + 10 * SECOND;
	ev_timer again;

	ev_timer_init(&again, look_again, 0.001, 0.001);
	ev_timer_start(core_loop(), &again);
	while (!done(arg)) {
		assert_true(core_now() < deadline);
		ev_run(core_loop(), EVRUN_ONCE);
	}
	ev_timer_stop(core_loop(), &again);
}

static bool is_another_second(const void *arg)
{
	return time(NULL) != *(const time_t *)arg;
}

static bool is_in_file(const void *arg)
{
	return verify_file_has(arg);
}

static void count_gone(const struct public_key *key)
{
	(void)key;
	n_gone++;
}

/* In place and equally long: but for the nanoseconds of its time nothing tells a version from the
 * one of the same second before. */
static void test_each_version_is_read(void **state)
{
	char path[] = "/tmp/tailplane-keys-XXXXXX", text[sizeof(A) + 1];
	int fd = mkstemp(path);
	time_t now = time(NULL);

	(void)state;
	assert_true(fd >= 0);
	n_gone = 0;
	verify_file_start(path, count_gone);
	turn_until(is_another_second, &now);
	for (unsigned i = 0; i < 5; i++) {
		struct public_key key = {.bytes[31] = (uint8_t)i};

		snprintf(text, sizeof(text), "%.*s%02x\n", (int)sizeof(A) - 3, A, i);
		assert_int_equal(pwrite(fd, text, strlen(text), 0), strlen(text));
		turn_until(is_in_file, &key);
		assert_int_equal(n_gone, i);
	}
	assert_int_equal(unlink(path), 0);
	while (n_gone < 5)
		ev_run(core_loop(), EVRUN_ONCE);
	verify_file_stop();
	close(fd);
}

/* ---- who was known ---- */

static struct public_key key_of(unsigned n)
{
	struct public_key key = {{0}};

	memcpy(key.bytes, &n, sizeof(n));
	key.bytes[31] = 1;
	return key;
}

static void test_grace(void **state)
{
	struct grace *grace = grace_new();
	struct public_key one = key_of(1), other = key_of(2);

	(void)state;
	assert_non_null(grace);
	assert_false(grace_has(grace, &one, 0, SECOND));
	grace_remember(grace, &one, 5 * SECOND);
	assert_true(grace_has(grace, &one, 6 * SECOND, SECOND));
	assert_false(grace_has(grace, &one, 6 * SECOND + 1, SECOND));
	assert_false(grace_has(grace, &other, 6 * SECOND, SECOND));
	grace_remember(grace, &one, 8 * SECOND);
	assert_true(grace_has(grace, &one, 9 * SECOND, SECOND));
	grace_forget(grace, &one);
	assert_false(grace_has(grace, &one, 8 * SECOND, SECOND));
	/* more than there is room for: the latest are there */
	for (unsigned i = 0; i < MANY; i++) {
		struct public_key key = key_of(i);

		grace_remember(grace, &key, i + 1);
	}
	for (unsigned i = MANY - 1000; i < MANY; i++) {
		struct public_key key = key_of(i);

		assert_true(grace_has(grace, &key, MANY, SECOND));
	}
	grace_free(grace);
}

/* From process to process: times stay, what is newer stays, and bytes of another form add nothing.
 */
static void test_grace_goes_on(void **state)
{
	struct grace *grace = grace_new(), *next = grace_new();
	struct public_key one = key_of(1), other = key_of(2), none = key_of(3);
	uint8_t *bytes;
	size_t len;

	(void)state;
	bytes = grace_pack(grace, &len);
	assert_int_equal(grace_unpack(next, bytes, len, 0), 0);
	free(bytes);
	grace_remember(grace, &one, 5 * SECOND);
	grace_remember(grace, &other, 5 * SECOND);
	grace_remember(grace, &none, 5 * SECOND);
	grace_forget(grace, &none);
	grace_remember(next, &other, 7 * SECOND);
	bytes = grace_pack(grace, &len);
	for (size_t cut = 0; cut < len; cut += cut < 8 ? 1 : 7)
		if ((cut - 8) % 40)
			assert_int_equal(grace_unpack(next, bytes, cut, 8 * SECOND), -EINVAL);
	assert_int_equal(grace_unpack(next, bytes, len, 4 * SECOND), -EINVAL); /* not yet */
	bytes[0] ^= 1;
	assert_int_equal(grace_unpack(next, bytes, len, 8 * SECOND), -EINVAL);
	bytes[0] ^= 1;
	assert_false(grace_has(next, &one, 8 * SECOND, 8 * SECOND));
	assert_int_equal(grace_unpack(next, bytes, len, 8 * SECOND), 0);
	assert_true(grace_has(next, &one, 8 * SECOND, 3 * SECOND));
	assert_false(grace_has(next, &one, 8 * SECOND, 3 * SECOND - 1));
	assert_true(grace_has(next, &other, 8 * SECOND, SECOND));
	assert_false(grace_has(next, &none, 8 * SECOND, 8 * SECOND));
	free(bytes);
	/* all that there can be */
	for (unsigned i = 0; i < MANY; i++) {
		struct public_key key = key_of(i);

		grace_remember(grace, &key, 5 * SECOND);
	}
	bytes = grace_pack(grace, &len);
	assert_true(len <= GRACE_BYTES_MAX);
	assert_int_equal(grace_unpack(next, bytes, len, 8 * SECOND), 0);
	free(bytes);
	grace_free(grace);
	grace_free(next);
}

static void test_map_text(void **state)
{
	json_t *map =
		json_loads("{\"Regions\":{\"900\":{\"RegionID\":900,\"RegionCode\":\"a\\\"b\","
			   "\"Nodes\":[{\"Name\":\"900a\",\"DERPPort\":8443},"
			   "{\"Name\":\"900b\"}]}}}",
			0, NULL);
	char *text = map_text_yaml(map);

	(void)state;
	assert_string_equal(text, "regions:\n"
				  "  900:\n"
				  "    regionid: 900\n"
				  "    regioncode: \"a\\\"b\"\n"
				  "    nodes:\n"
				  "      - name: \"900a\"\n"
				  "        derpport: 8443\n"
				  "      - name: \"900b\"\n");
	free(text);
	json_decref(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_each_version_is_read),
		cmocka_unit_test(test_grace),
		cmocka_unit_test(test_grace_goes_on),
		cmocka_unit_test(test_map_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
