/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * No branch and no address depends on keys or texts: under valgrind, with these marked undefined,
 * memcheck reports each conditional jump and each address that is made of them. Every
 * implementation that valgrind can run (it knows no AVX-512: test_aead_trace.c is for that too).
 * That a packet was refused is no secret: aead_memcheck.supp names the functions that branch on the
 * verdict.
 */
#include "aead_each.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <valgrind/memcheck.h>

#include "secret_burst.h"

static struct secret_burst burst, plain;

static void without_valgrind(void **state)
{
	print_message("needs valgrind\n");
	skip();
}

static void secrets_hide(void)
{
	VALGRIND_MAKE_MEM_UNDEFINED(burst.keys, sizeof(burst.keys));
	for (unsigned i = 0; i < burst.n; i++)
		VALGRIND_MAKE_MEM_UNDEFINED(burst.items[i].dst, burst.items[i].src[0].len);
}

static void all_show(void)
{
	VALGRIND_MAKE_MEM_DEFINED(&burst, sizeof(burst));
}

static void seal_burst(void **state)
{
	for (unsigned k = 0; k < N_SECRET_KINDS; k++) {
		unsigned long errors = VALGRIND_COUNT_ERRORS;

		secret_burst_fill(&burst, &secret_kinds[k], 1, false);
		secrets_hide();
		aead_chosen()->seal(burst.items, burst.n);
		all_show();
		assert_int_equal(VALGRIND_COUNT_ERRORS, errors);

		secret_burst_fill(&plain, &secret_kinds[k], 1, true);
		for (unsigned i = 0; i < burst.n; i++) {
			size_t at = (size_t)(burst.items[i].dst - burst.buffers[i]);

			/* But for the tags that were damaged. */
			assert_memory_equal(burst.items[i].dst, plain.buffers[i] + at,
				burst.items[i].src[0].len);
		}
	}
}

static void open_burst(void **state)
{
	for (unsigned k = 0; k < N_SECRET_KINDS; k++) {
		unsigned long errors = VALGRIND_COUNT_ERRORS;

		secret_burst_fill(&burst, &secret_kinds[k], 1, true);
		secrets_hide();
		aead_chosen()->open(burst.items, burst.n);
		all_show();
		assert_int_equal(VALGRIND_COUNT_ERRORS, errors);

		for (unsigned i = 0; i < burst.n; i++)
			assert_int_equal(burst.items[i].ok, i % 5 != 4);
	}
}

int main(void)
{
	static const struct CMUnitTest outside[] = {cmocka_unit_test(without_valgrind)};
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(seal_burst),
		cmocka_unit_test(open_burst),
	};

	if (!RUNNING_ON_VALGRIND)
		return aead_each(outside, 1);
	return aead_each(tests, sizeof(tests) / sizeof(tests[0]));
}
