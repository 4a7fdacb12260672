/* SPDX-License-Identifier: BSD-3-Clause */
/* Slots: what is published is seen, what was replaced is freed once, in the way that was set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <tailplane/snapshot.h>

static int freed[4];
static void *retired_object;
static void (*retired_fn)(void *);

static void free_number(void *object)
{
	++*(int *)object;
}

static void free_other(void *object)
{
	*(int *)object += 10;
}

static void test_slots_have_names(void **state)
{
	struct snapshot_slot *a = snapshot_slot("a"), *b = snapshot_slot("b");

	(void)state;
	assert_ptr_not_equal(a, b);
	assert_ptr_equal(snapshot_slot("a"), a);
	assert_null(snapshot_get(a));
}

static void test_what_is_replaced_is_freed_its_own_way(void **state)
{
	struct snapshot_slot *slot = snapshot_slot("free");

	(void)state;
	snapshot_publish(slot, &freed[0], free_number);
	assert_ptr_equal(snapshot_get(slot), &freed[0]);
	snapshot_publish(slot, &freed[1], free_other);
	assert_ptr_equal(snapshot_get(slot), &freed[1]);
	assert_int_equal(freed[0], 1);
	assert_int_equal(freed[1], 0);
	snapshot_publish(slot, NULL, NULL);
	assert_null(snapshot_get(slot));
	assert_int_equal(freed[0], 1);
	assert_int_equal(freed[1], 10);
	snapshot_publish(slot, NULL, NULL);
	assert_int_equal(freed[1], 10);
}

static void retire(void *object, void (*free_fn)(void *))
{
	retired_object = object;
	retired_fn = free_fn;
}

static void test_the_data_plane_says_when(void **state)
{
	struct snapshot_slot *slot = snapshot_slot("retire");

	(void)state;
	snapshot_set_retire(retire);
	snapshot_publish(slot, &freed[2], free_number);
	assert_null(retired_object);
	snapshot_publish(slot, &freed[3], free_number);
	assert_int_equal(freed[2], 0);
	assert_ptr_equal(retired_object, &freed[2]);
	retired_fn(retired_object);
	assert_int_equal(freed[2], 1);
	snapshot_set_retire(NULL);
	snapshot_publish(slot, NULL, NULL);
	assert_int_equal(freed[3], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slots_have_names),
		cmocka_unit_test(test_what_is_replaced_is_freed_its_own_way),
		cmocka_unit_test(test_the_data_plane_says_when),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
