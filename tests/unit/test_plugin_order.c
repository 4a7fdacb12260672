/* SPDX-License-Identifier: BSD-3-Clause */
/* Plugins in order of their needs, against what an order is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "plugins.h"
#include "prng.h"

#define N_MAX 24
#define ROUNDS 3000

static char names[N_MAX][4];
static const char *needs[N_MAX][N_MAX + 1];
static struct plugin plugins[N_MAX];
static struct instance instances[N_MAX];
static struct instance *list[N_MAX];

static void make(size_t n)
{
	for (size_t i = 0; i < n; i++) {
		snprintf(names[i], sizeof(names[i]), "p%zu", i);
		needs[i][0] = NULL;
		plugins[i] = (struct plugin){.name = names[i], .needs = needs[i]};
		instances[i] = (struct instance){.plugin = &plugins[i]};
		list[i] = &instances[i];
	}
}

static void add_need(size_t who, const char *whom)
{
	size_t i = 0;

	while (needs[who][i])
		i++;
	needs[who][i] = whom;
	needs[who][i + 1] = NULL;
}

static size_t place_of(size_t n, const char *name)
{
	size_t i = 0;

	while (i < n && strcmp(list[i]->plugin->name, name) != 0)
		i++;
	return i;
}

static void test_none_and_one(void **state)
{
	struct err err = {0};
	size_t at = 99;

	(void)state;
	assert_int_equal(plugin_order(NULL, 0, &at, &err), 0);
	make(1);
	plugins[0].needs = NULL;
	assert_int_equal(plugin_order(list, 1, &at, &err), 0);
	assert_ptr_equal(list[0], &instances[0]);
}

static void test_who_needs_nobody_stays_in_place(void **state)
{
	struct err err = {0};
	size_t at;

	(void)state;
	make(5);
	add_need(1, "p3");
	assert_int_equal(plugin_order(list, 5, &at, &err), 0);
	assert_string_equal(list[0]->plugin->name, "p0");
	assert_string_equal(list[1]->plugin->name, "p3");
	assert_string_equal(list[2]->plugin->name, "p1");
	assert_string_equal(list[3]->plugin->name, "p2");
	assert_string_equal(list[4]->plugin->name, "p4");
}

static void test_missing(void **state)
{
	struct err err = {0};
	size_t at = 0;

	(void)state;
	make(3);
	add_need(1, "p2");
	add_need(2, "elsewhere");
	assert_int_equal(plugin_order(list, 3, &at, &err), -EINVAL);
	assert_int_equal(at, 2);
	assert_string_equal(err.msg,
		"plugin \"p2\" needs \"elsewhere\", which is not loaded: add it to plugins");
}

static void test_circles(void **state)
{
	struct err err = {0};
	size_t at;

	(void)state;
	make(4);
	add_need(0, "p1");
	add_need(1, "p2");
	add_need(2, "p3");
	add_need(3, "p1");
	assert_int_equal(plugin_order(list, 4, &at, &err), -EINVAL);
	assert_string_equal(err.msg, "plugins need each other in a circle: p1 -> p2 -> p3 -> p1");
	make(1);
	err = (struct err){0};
	add_need(0, "p0");
	assert_int_equal(plugin_order(list, 1, &at, &err), -EINVAL);
	assert_string_equal(err.msg, "plugins need each other in a circle: p0 -> p0");
}

/* Needs along a hidden order have a solution, in which each is behind all it needs; one need
 * against it makes a circle when the way back exists. */
static void test_random(void **state)
{
	struct prng prng = {1};

	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		size_t n = 2 + prng_below(&prng, N_MAX - 1), at, a, b;
		struct err err = {0};
		size_t hidden[N_MAX];

		make(n);
		for (size_t i = 0; i < n; i++) {
			size_t j = prng_below(&prng, (uint32_t)i + 1);

			hidden[i] = hidden[j];
			hidden[j] = i;
		}
		for (size_t i = 1; i < n; i++) {
			for (size_t j = 0; j < i; j++) {
				if (prng_below(&prng, 4) == 0)
					add_need(hidden[i], names[hidden[j]]);
			}
		}
		assert_int_equal(plugin_order(list, n, &at, &err), 0);
		for (size_t i = 0; i < n; i++) {
			assert_true(place_of(n, names[i]) < n);
			for (const char **need = needs[i]; *need; need++)
				assert_true(place_of(n, *need) < place_of(n, names[i]));
		}
		a = prng_below(&prng, (uint32_t)n);
		b = prng_below(&prng, (uint32_t)n);
		if (a == b || !plugin_needs(list, n, &plugins[a], &plugins[b]))
			continue;
		add_need(b, names[a]);
		assert_int_equal(plugin_order(list, n, &at, &err), -EINVAL);
	}
}

static void test_needs_through_others(void **state)
{
	(void)state;
	make(4);
	add_need(3, "p2");
	add_need(2, "p0");
	assert_true(plugin_needs(list, 4, &plugins[3], &plugins[2]));
	assert_true(plugin_needs(list, 4, &plugins[3], &plugins[0]));
	assert_false(plugin_needs(list, 4, &plugins[0], &plugins[3]));
	assert_false(plugin_needs(list, 4, &plugins[3], &plugins[1]));
	assert_false(plugin_needs(list, 4, &plugins[3], &plugins[3]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none_and_one),
		cmocka_unit_test(test_who_needs_nobody_stays_in_place),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_circles),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_needs_through_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
