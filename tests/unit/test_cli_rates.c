/* SPDX-License-Identifier: BSD-3-Clause */
/* Rates of a watched table: which rows belong together, and what becomes of counters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "rates.h"

static const struct op_column columns[] = {{"name", "PORT", OP_TEXT},
	{"queues", "QUEUES", OP_COUNT}, {"packets", "PACKETS", OP_COUNTER},
	{"bytes", "BYTES", OP_TRAFFIC}, {0}};

static json_t *row(const char *name, int packets, int bytes)
{
	return json_pack(
		"{ss si si si}", "name", name, "queues", 1, "packets", packets, "bytes", bytes);
}

static double rate_of(const json_t *rows, size_t i, const char *key)
{
	const json_t *rate = json_object_get(json_array_get(rows, i), key);

	return rate ? json_number_value(rate) : -1;
}

static void behind_each_counter(void **state)
{
	static const char *const keys[] = {
		"name", "queues", "packets", "packets/s", "bytes", "bytes/s", NULL};
	struct rates rates = {0};
	const struct op_column *with = rates_columns(&rates, columns);

	(void)state;
	for (unsigned i = 0; i < 6; i++)
		assert_string_equal(with[i].key, keys[i]);
	assert_null(with[6].key);
	assert_string_equal(with[3].title, "PACKETS/s");
	assert_int_equal(with[5].format, OP_BITRATE);
	assert_ptr_equal(rates_columns(&rates, columns), with);
	rates_free(&rates);
	assert_null(rates_columns(&rates, columns + 4));
}

static void rows_are_known_by_their_texts(void **state)
{
	struct rates rates = {0};
	json_t *first = json_pack("[oo]", row("wan", 100, 1000), row("lan", 7, 70));
	json_t *second =
		json_pack("[ooo]", row("new", 5, 50), row("lan", 9, 70), row("wan", 400, 500));

	(void)state;
	rates_columns(&rates, columns);
	rates_add(&rates, first, 10);
	assert_true(rate_of(first, 0, "packets/s") < 0); /* nothing to compare with */
	rates_add(&rates, second, 12);
	assert_true(rate_of(second, 0, "packets/s") < 0);
	assert_true(rate_of(second, 1, "packets/s") == 1);
	assert_true(rate_of(second, 1, "bytes/s") == 0);
	assert_true(rate_of(second, 2, "packets/s") == 150);
	assert_true(rate_of(second, 2, "bytes/s") < 0); /* set back: the daemon was restarted */
	rates_free(&rates);
	json_decref(first);
	json_decref(second);
}

static void bits_of_traffic(void **state)
{
	struct rates rates = {0};
	json_t *rows[2] = {
		json_pack("[o]", row("wan", 0, 0)), json_pack("[o]", row("wan", 0, 1000))};

	(void)state;
	rates_columns(&rates, columns);
	rates_add(&rates, rows[0], 1);
	rates_add(&rates, rows[1], 1.5);
	assert_true(rate_of(rows[1], 0, "bytes/s") == 16000);
	rates_free(&rates);
	json_decref(rows[0]);
	json_decref(rows[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(behind_each_counter),
		cmocka_unit_test(rows_are_known_by_their_texts),
		cmocka_unit_test(bits_of_traffic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
