/* SPDX-License-Identifier: BSD-3-Clause */
/* A buffer against a flat array under random operations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "bytes_buffer.h"
#include "prng.h"

#define ROUNDS 20000
#define PIECE_MAX 3000

static void test_random(void **state)
{
	static uint8_t model[1 << 20], piece[PIECE_MAX];
	struct bytes_buffer buffer = {0};
	struct prng prng = {3};
	size_t from = 0, to = 0, peak = 0;

	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		size_t len = prng_below(&prng, PIECE_MAX);

		if (to + len > sizeof(model)) {
			bytes_buffer_drop(&buffer, to - from);
			from = to = 0;
		}
		if (prng_below(&prng, 2)) {
			prng_fill(&prng, piece, len);
			memcpy(model + to, piece, len);
			to += len;
			bytes_buffer_add(&buffer, piece, len);
		} else {
			len = len > to - from ? to - from : len;
			bytes_buffer_drop(&buffer, len);
			from += len;
		}
		assert_int_equal(bytes_buffer_used(&buffer), to - from);
		if (to > from)
			assert_memory_equal(bytes_buffer_data(&buffer), model + from, to - from);
		/* room is taken for what was in it at once, not for all that went through */
		peak = to == from ? 0 : to - from > peak ? to - from : peak;
		assert_true(buffer.size <= 4096 || buffer.size <= 4 * peak);
	}
	bytes_buffer_fini(&buffer);
}

static void test_an_empty_one_has_no_memory(void **state)
{
	struct bytes_buffer buffer = {0};

	(void)state;
	bytes_buffer_add(&buffer, "", 0);
	bytes_buffer_drop(&buffer, 0);
	bytes_buffer_add(&buffer, "abc", 3);
	assert_non_null(buffer.bytes);
	bytes_buffer_drop(&buffer, 3);
	assert_null(buffer.bytes);
}

static void test_what_leaves_is_zeroed(void **state)
{
	struct bytes_buffer buffer = {0};

	(void)state;
	bytes_buffer_add(&buffer, "secret and more", 15);
	bytes_buffer_drop(&buffer, 6);
	assert_memory_equal(buffer.bytes, "\0\0\0\0\0\0 and more", 15);
	bytes_buffer_fini(&buffer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_an_empty_one_has_no_memory),
		cmocka_unit_test(test_what_leaves_is_zeroed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
