/* SPDX-License-Identifier: BSD-3-Clause */
/* Which keys are good for relays, and which the relay in this process is told to end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <tailplane/plugin.h>
#include <tailplane/relay.h>

#include "admission.h"
#include "registrations.h"

#define DISMISSED_MAX 10

static struct public_key dismissed[DISMISSED_MAX];
static unsigned n_dismissed;

static void note(const uint8_t key[static 32])
{
	assert_true(n_dismissed < DISMISSED_MAX);
	memcpy(dismissed[n_dismissed++].bytes, key, sizeof(dismissed->bytes));
}

static const struct relay_ops relay = {.dismiss = note};

static int start(void **state)
{
	int rc = world_start(state);

	core_provide(RELAY_SERVICE, &relay);
	admission_start(&world_tailnet, true);
	n_dismissed = 0;
	return rc;
}

static int stop(void **state)
{
	admission_stop();
	core_provide(RELAY_SERVICE, NULL);
	return world_stop(state);
}

static bool is_good(unsigned n)
{
	struct public_key key = world_key('n', n);

	return admission_allows(&key);
}

static bool is_dismissed(unsigned n)
{
	struct public_key key = world_key('n', n);

	for (unsigned i = 0; i < n_dismissed; i++) {
		if (memcmp(&dismissed[i], &key, sizeof(key)) == 0)
			return true;
	}
	return false;
}

/* The node of machine 1 with keys 1, 2 and 3 in turn, and another node. */
static int64_t rotate_twice(void)
{
	const char *key = key_of("alice", true);
	char old[KEY_TEXT_SIZE], member[400];

	client_free(client_register(7, 7, "other", key));
	client_free(client_register(1, 1, "a", key));
	for (unsigned n = 2; n <= 3; n++) {
		struct public_key before = world_key('n', n - 1);

		snprintf(member, sizeof(member), ",\"OldNodeKey\":\"%s\"%s",
			key_text_format(old, KEY_TEXT_NODE, &before), key);
		expect_reply(client_register(1, n, "a", member), "\"MachineAuthorized\":true");
	}
	for (unsigned n = 1; n <= 3; n++)
		assert_true(is_good(n));
	assert_int_equal(n_dismissed, 0);
	return only_node(1)->d.id;
}

static void expect_all_ended(const struct world_outcome *out)
{
	world_settle();
	assert_true(out->done && !out->error);
	for (unsigned n = 1; n <= 3; n++)
		assert_true(!is_good(n) && is_dismissed(n));
	assert_int_equal(n_dismissed, 3);
	assert_true(is_good(7));
}

/* Who changes keys faster than the old ones end does not stay by them. */
static void test_a_removed_node_has_no_key(void **state)
{
	int64_t id = rotate_twice();
	struct world_outcome out = {0};

	(void)state;
	node_remove(&world_tailnet, id, world_note, &out);
	expect_all_ended(&out);
}

static void test_an_expired_node_has_no_key(void **state)
{
	int64_t id = rotate_twice();
	struct world_outcome out = {0};

	(void)state;
	node_expire(&world_tailnet, id, world_wall(), world_note, &out);
	expect_all_ended(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_removed_node_has_no_key, start, stop),
		cmocka_unit_test_setup_teardown(test_an_expired_node_has_no_key, start, stop),
	};

	jobs_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
