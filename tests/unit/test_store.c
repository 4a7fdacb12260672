/* SPDX-License-Identifier: BSD-3-Clause */
/* The store with SQLite behind it: rows, conditions and order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "store_zoo.h"

static void test_rows(void **state)
{
	struct store_txn *txn;

	(void)state;
	again(&zoo_1);
	assert_string_equal(pets(), "");
	assert_int_equal(commit(pet(2, "rex")).error, 0);
	txn = pet(1, "cat");
	store_update(txn, "pets", store_int(1), "name", store_text("puss"));
	store_update(txn, "pets", store_int(2), "name", store_text("cat"));
	assert_int_equal(commit(txn).error, 0);
	assert_string_equal(pets(), "1:puss 2:cat ");
	txn = store_txn_new();
	store_delete(txn, "pets", store_int(2));
	assert_int_equal(commit(txn).error, 0);
	again(&zoo_1);
	assert_string_equal(pets(), "1:puss ");
}

static void test_values(void **state)
{
	static const uint8_t chip[] = {0, 1, 0, 255};
	struct store_txn *txn = store_txn_new();
	struct err err = {0};

	(void)state;
	again(&zoo_1);
	store_insert(txn, "pets",
		(struct store_value[]){store_int(INT64_MAX), store_text(""), store_bytes(chip, 4)});
	store_insert(txn, "pets",
		(struct store_value[]){
			store_int(INT64_MIN), store_text("a'\"\xc3\xa4"), store_bytes("", 0)});
	assert_int_equal(commit(txn).error, 0);
	txn = store_txn_new();
	store_expect(txn, "pets", store_int(INT64_MAX), "chip", store_bytes(chip, 4));
	store_expect(txn, "pets", store_int(INT64_MIN), "chip", store_bytes("", 0));
	store_expect(txn, "pets", store_int(INT64_MIN), "name", store_text("a'\"\xc3\xa4"));
	assert_int_equal(commit(txn).error, 0);
	assert_int_equal(store_load("nothing", list_row, NULL, &err), -ENOENT);
}

/* A conflict takes back its own transaction, whole, and no other. */
static void test_conflicts(void **state)
{
	struct store_txn *txn;
	struct outcome outcome, neighbour = {0};

	(void)state;
	again(&zoo_1);
	commit(pet(1, "puss"));
	txn = pet(2, "rex");
	store_update(txn, "pets", store_int(3), "name", store_text("nobody"));
	store_commit(pet(4, "duck"), note, &neighbour);
	outcome = commit(txn);
	assert_int_equal(outcome.error, -EAGAIN);
	assert_string_equal(outcome.why, "pets.name");
	assert_int_equal(outcome.seq, 0);
	assert_int_equal(neighbour.error, 0);
	assert_string_equal(pets(), "1:puss 4:duck ");

	outcome = commit(pet(1, "other"));
	assert_int_equal(outcome.error, -EAGAIN);
	assert_string_equal(outcome.why, "pets.id");
	outcome = commit(pet(9, "duck"));
	assert_string_equal(outcome.why, "pets.name");

	txn = pet(5, "cow");
	store_expect(txn, "pets", store_int(1), "name", store_text("rex"));
	assert_int_equal(commit(txn).error, -EAGAIN);
	txn = pet(5, "cow");
	store_expect(txn, "pets", store_int(1), "chip", store_null());
	assert_int_equal(commit(txn).error, 0);
	txn = store_txn_new();
	store_delete(txn, "pets", store_int(77));
	assert_int_equal(commit(txn).error, -EAGAIN);
	assert_true(store_healthy(NULL));
}

static void test_counters(void **state)
{
	struct store_txn *txn = store_txn_new();
	struct err err = {0};
	struct outcome outcome;
	int64_t value = -1;

	(void)state;
	again(&zoo_1);
	assert_int_equal(store_counter("pet", &value, &err), 0);
	assert_int_equal(value, 0);
	store_count(txn, "pet", 0, 3);
	store_count(txn, "pet", 3, 4);
	assert_int_equal(commit(txn).error, 0);
	txn = pet(1, "late");
	store_count(txn, "pet", 3, 5);
	outcome = commit(txn);
	assert_int_equal(outcome.error, -EAGAIN);
	assert_string_equal(outcome.why, "pet");
	txn = store_txn_new();
	store_count(txn, "never", 1, 2);
	assert_int_equal(commit(txn).error, -EAGAIN);
	again(&zoo_1);
	assert_int_equal(store_counter("pet", &value, &err), 0);
	assert_int_equal(value, 4);
	assert_string_equal(pets(), "");
}

/* Completions come in the order of the commits, with rising numbers, whatever is written together.
 */
static void test_order(void **state)
{
	enum { N = 5000 };
	struct outcome *outcomes = calloc(N, sizeof(*outcomes));
	uint64_t seq = 0;
	char name[20];

	(void)state;
	again(&zoo_1);
	places = 0;
	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "p%d", i % 1000 == 999 ? i - 1 : i);
		store_commit(pet(i, name), note, &outcomes[i]);
	}
	store_drain();
	for (int i = 0; i < N; i++) {
		assert_int_equal(outcomes[i].place, i + 1);
		assert_int_equal(outcomes[i].error, i % 1000 == 999 ? -EAGAIN : 0);
		if (outcomes[i].error)
			continue;
		assert_true(outcomes[i].seq > seq);
		seq = outcomes[i].seq;
	}
	free(outcomes);
}

/* A commit from a completion, and a drain in one. */
static void nested(void *arg, const struct store_result *result)
{
	assert_int_equal(result->error, 0);
	store_commit(pet(2, "second"), note, arg);
	store_drain();
	assert_int_equal(((struct outcome *)arg)->error, 0);
}

static void test_nested(void **state)
{
	struct outcome second = {.error = 1};

	(void)state;
	again(&zoo_1);
	store_commit(pet(1, "first"), nested, &second);
	store_drain();
	assert_string_equal(pets(), "1:first 2:second ");
}

/* "No such row" holds for what the same transaction took away, and for what others brought. */
static void test_expect_none(void **state)
{
	struct store_txn *txn;

	(void)state;
	again(&zoo_1);
	assert_int_equal(commit(pet(1, "puss")).error, 0);
	txn = store_txn_new();
	store_expect_none(txn, "pets", "name", store_text("puss"));
	assert_int_equal(commit(txn).error, -EAGAIN);
	txn = store_txn_new();
	store_expect_none(txn, "pets", "name", store_text("rex"));
	store_delete(txn, "pets", store_int(1));
	store_expect_none(txn, "pets", "name", store_text("puss"));
	assert_int_equal(commit(txn).error, 0);
	assert_string_equal(pets(), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rows, start, stop),
		cmocka_unit_test_setup_teardown(test_values, start, stop),
		cmocka_unit_test_setup_teardown(test_conflicts, start, stop),
		cmocka_unit_test_setup_teardown(test_counters, start, stop),
		cmocka_unit_test_setup_teardown(test_order, start, stop),
		cmocka_unit_test_setup_teardown(test_nested, start, stop),
		cmocka_unit_test_setup_teardown(test_expect_none, start, stop),
	};

	jobs_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
