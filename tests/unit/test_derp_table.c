/* SPDX-License-Identifier: BSD-3-Clause */
/* The relay's hash table and its wheel, each against a model that is plainly right; its rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bytes.h"
#include "table.h"
#include "wheel.h"

static uint64_t random_state = 88172645463325252u;

static uint64_t prng(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* ---- table ---- */

#define ITEMS 300

static int items[ITEMS];

static bool same(const void *item, const void *key)
{
	return *(const int *)item == *(const int *)key;
}

/* Many share a hash, and more a place. */
static uint64_t hash_of(int item)
{
	return (uint64_t)(item % 40) * 7;
}

static void test_table(void **state)
{
	bool in[ITEMS] = {false};
	struct table table = {0};
	size_t n = 0;

	(void)state;
	for (int i = 0; i < ITEMS; i++)
		items[i] = i;
	for (unsigned round = 0; round < 20000; round++) {
		int i = (int)(prng() % ITEMS);
		/* it grows and shrinks in turns */
		bool add = prng() % 100 < (round / 4000 % 2 ? 30 : 70);

		if (add && !in[i]) {
			assert_int_equal(table_add(&table, hash_of(i), &items[i]), 0);
			in[i] = true;
			n++;
		} else if (!add) {
			table_remove(&table, hash_of(i), &items[i]);
			n -= in[i];
			in[i] = false;
		}
		assert_int_equal(table.n, n);
		i = (int)(prng() % ITEMS);
		assert_ptr_equal(
			table_find(&table, hash_of(i), same, &i), in[i] ? &items[i] : NULL);
	}
	for (int i = 0; i < ITEMS; i++) {
		assert_ptr_equal(
			table_find(&table, hash_of(i), same, &i), in[i] ? &items[i] : NULL);
		table_remove(&table, hash_of(i), &items[i]);
	}
	assert_int_equal(table.n, 0);
	table_fini(&table);
}

/* ---- wheel ---- */

#define ENTRIES 50

static void test_wheel(void **state)
{
	struct wheel_entry entries[ENTRIES] = {{0}};
	uint64_t due[ENTRIES] = {0}, now = 123456789012345u, reach;
	struct wheel_entry *entry;
	struct wheel wheel;

	(void)state;
	wheel_init(&wheel, now);
	reach = (WHEEL_SLOTS - 2) * WHEEL_TICK_NS;
	for (unsigned round = 0; round < 20000; round++) {
		unsigned i = (unsigned)(prng() % ENTRIES);

		if (prng() % 4 == 0) {
			wheel_remove(&wheel, &entries[i]);
			due[i] = 0;
		} else {
			due[i] = now + prng() % (prng() % 8 ? 2 * WHEEL_TICK_NS : reach);
			wheel_set(&wheel, &entries[i], due[i]);
		}
		now += prng() % (round % 500 ? WHEEL_TICK_NS / 2 : 200 * WHEEL_TICK_NS);
		while ((entry = wheel_next(&wheel, now))) {
			i = (unsigned)(entry - entries);
			assert_true(due[i] && due[i] <= now);
			due[i] = 0;
		}
		for (i = 0; i < ENTRIES; i++)
			assert_true(!due[i] || due[i] + 2 * WHEEL_TICK_NS > now);
	}
}

/* A machine that slept for an hour. */
static void test_wheel_after_a_long_time(void **state)
{
	struct wheel_entry a = {0}, b = {0};
	struct wheel wheel;

	(void)state;
	wheel_init(&wheel, 0);
	wheel_set(&wheel, &a, WHEEL_TICK_NS);
	wheel_set(&wheel, &b, 1000 * WHEEL_TICK_NS * WHEEL_SLOTS); /* further than it reaches */
	assert_null(wheel_next(&wheel, WHEEL_TICK_NS));
	assert_ptr_equal(wheel_next(&wheel, 100 * WHEEL_TICK_NS), &a);
	assert_null(wheel_next(&wheel, 100 * WHEEL_TICK_NS));
	assert_ptr_equal(wheel_next(&wheel, 10 * WHEEL_SLOTS * WHEEL_TICK_NS), &b); /* early */
	assert_null(wheel_next(&wheel, 10 * WHEEL_SLOTS * WHEEL_TICK_NS));
	assert_int_equal(wheel.n, 0);
}

/* ---- rows of bytes ---- */

/* What is appended and taken at the same pace costs no more than what is in it. */
static void test_a_row_that_is_never_empty(void **state)
{
	struct bytes row = {0};
	uint8_t in = 0, out = 0, bytes[100];

	(void)state;
	for (unsigned i = 0; i < 100000; i++) {
		for (unsigned k = 0; k < sizeof(bytes); k++)
			bytes[k] = in++;
		assert_true(bytes_append(&row, bytes, sizeof(bytes)));
		if (row.len - row.at < 10 * sizeof(bytes))
			continue;
		for (unsigned k = 0; k < sizeof(bytes); k++)
			assert_int_equal(row.data[row.at++], out++);
	}
	assert_in_range(row.size, 1000, 4096);
	bytes_free(&row);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_wheel),
		cmocka_unit_test(test_wheel_after_a_long_time),
		cmocka_unit_test(test_a_row_that_is_never_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
