/* SPDX-License-Identifier: BSD-3-Clause */
/* Heads of HTTP/1 requests, whole and in every cut. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "front_head.h"

/* Feeds all of it in pieces of `step`; bodies up to 10 bytes. */
static enum head_result feed(struct front_head *head, const char *bytes, size_t n, size_t step)
{
	enum head_result result = HEAD_MORE;
	size_t at = 0;

	while (at < n && (result == HEAD_MORE || result == HEAD_COMPLETE)) {
		size_t used;

		result = head_feed(head, bytes + at, n - at < step ? n - at : step, &used);
		at += used;
		if (result == HEAD_COMPLETE)
			result = head_resume(head, 10);
	}
	return result;
}

static void test_every_cut(void **state)
{
	static const char text[] =
		"POST http://host:80/a/b?c=d#e HTTP/1.1\r\nHost:  x y \r\nEmpty:\r\n"
		"A: 1\r\na: 2\r\nContent-Length: 3\r\n\r\nxyz";

	(void)state;
	for (size_t step = 1; step <= sizeof(text); step++) {
		struct front_head *head = head_new();

		assert_int_equal(feed(head, text, sizeof(text) - 1, step), HEAD_DONE);
		assert_string_equal(head_method(head), "POST");
		assert_string_equal(head_path(head), "/a/b");
		assert_string_equal(head_query(head), "c=d");
		assert_string_equal(head_field(head, "host"), "x y");
		assert_string_equal(head_field(head, "EMPTY"), "");
		assert_string_equal(head_field(head, "a"), "1");
		assert_null(head_field(head, "b"));
		assert_int_equal(head->body_len, 3);
		assert_string_equal((char *)head->body, "xyz");
		head_free(head);
	}
}

static void test_bad(void **state)
{
	static const struct {
		const char *text;
		int status;
	} cases[] = {
		{"G\1T / HTTP/1.1\r\n\r\n", 400},
		{"GET / HTTP/2.1\r\n\r\n", 505},
		{"GET /\r\n\r\n", 505},
		{"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nA: b\1c\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nA b: c\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\n", 413},
		{"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: "
		 "chunked\r\n\r\n6\r\n123456\r\n6\r\n123456\r\n",
			413},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx", 400},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct front_head *head = head_new();

		assert_int_equal(
			feed(head, cases[i].text, strlen(cases[i].text), SIZE_MAX), HEAD_BAD);
		assert_int_equal(head->status, cases[i].status);
		assert_non_null(head->why);
		head_free(head);
	}
}

static void test_words_of_a_list(void **state)
{
	static const char text[] = "GET / HTTP/1.1\r\nConnection: keep-alive , UPGRADE,x\r\n\r\n";
	struct front_head *head = head_new();

	(void)state;
	assert_int_equal(feed(head, text, sizeof(text) - 1, SIZE_MAX), HEAD_DONE);
	assert_true(head_field_has(head, "connection", "upgrade"));
	assert_true(head_field_has(head, "connection", "x"));
	assert_false(head_field_has(head, "connection", "keep"));
	assert_false(head_field_has(head, "none", "x"));
	head_free(head);
}

static void test_queries(void **state)
{
	char buf[8];

	(void)state;
	assert_int_equal(query_get("a=1&b=%4a+%C3%bc&c", "b", buf, sizeof(buf)), 4);
	assert_string_equal(buf, "J \xc3\xbc");
	assert_int_equal(query_get("a=1234567", "a", buf, sizeof(buf)), 7);
	assert_int_equal(query_get("a=12345678", "a", buf, sizeof(buf)), -EINVAL);
	assert_int_equal(query_get("a=%", "a", buf, sizeof(buf)), -EINVAL);
	assert_int_equal(query_get("a=%2", "a", buf, sizeof(buf)), -EINVAL);
	assert_int_equal(query_get("a=%2g", "a", buf, sizeof(buf)), -EINVAL);
	assert_int_equal(query_get("a=%00", "a", buf, sizeof(buf)), -EINVAL);
	assert_int_equal(query_get("a=", "a", buf, sizeof(buf)), 0);
	assert_int_equal(query_get("a", "a", buf, sizeof(buf)), -ENOENT);
	assert_int_equal(query_get("", "a", buf, sizeof(buf)), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_words_of_a_list),
		cmocka_unit_test(test_queries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
