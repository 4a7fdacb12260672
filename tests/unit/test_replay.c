/* SPDX-License-Identifier: BSD-3-Clause */
/* The window against a model that remembers each counter it ever took. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "replay.h"

static uint64_t random_state;

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

#define MODEL_COUNTERS (1u << 22)

struct model {
	uint64_t base, highest;
	bool any;
	uint8_t seen[MODEL_COUNTERS];
};

static bool model_check_and_set(struct model *m, uint64_t counter)
{
	assert_true(counter - m->base < MODEL_COUNTERS);
	if (counter >= REJECT_AFTER_MESSAGES)
		return false;
	if (m->any && counter + REPLAY_WINDOW <= m->highest)
		return false;
	if (m->seen[counter - m->base])
		return false;
	m->seen[counter - m->base] = 1;
	if (!m->any || counter > m->highest)
		m->highest = counter;
	m->any = true;
	return true;
}

/* Mostly near the newest, sometimes just inside or outside of the window, seldom a jump ahead. */
static uint64_t next_counter(const struct model *m)
{
	uint64_t r = random_next();
	uint64_t far = r >> 32;
	uint64_t counter, low = m->base;

	switch (r % 16) {
	case 0:
		counter = m->highest - REPLAY_WINDOW + far % 128 - 64;
		break;
	case 1:
		counter = m->highest - far % (2 * REPLAY_WINDOW);
		break;
	case 2:
		counter = m->highest + 64 * (far % 4);
		break;
	case 3:
		counter = m->highest + (far % 1024 ? far % 80 : far % 20000);
		break;
	default:
		counter = m->highest + far % 16 - 8;
	}
	/* below the first counter: wrapped, or of before the model's range */
	if (counter < low || counter - low >= MODEL_COUNTERS)
		counter = low + far % 64;
	return counter;
}

/* Returns how many operations it made before the model's range ended. */
static unsigned run_model(uint64_t base, unsigned operations, unsigned taken_min)
{
	struct model *m = calloc(1, sizeof(*m));
	struct replay_window *w = calloc(1, sizeof(*w));
	unsigned taken = 0, i;

	assert_non_null(m);
	assert_non_null(w);
	m->base = base;
	m->highest = base;
	for (i = 0; i < operations; i++) {
		uint64_t counter = next_counter(m);
		bool want = model_check_and_set(m, counter);

		assert_int_equal(replay_check_and_set(w, counter), want);
		taken += want;
		if (m->highest - m->base > MODEL_COUNTERS - 40000)
			break;
	}
	assert_true(taken >= taken_min);
	free(w);
	free(m);
	return i;
}

static void random_from_zero(void **state)
{
	unsigned operations = 0;

	for (unsigned seed = 1; seed <= 8; seed++) {
		random_state = seed * 0x9e3779b97f4a7c15;
		operations += run_model(0, 300000, 30000);
	}
	assert_true(operations >= 1000000);
}

static void random_near_the_limit(void **state)
{
	random_state = 42;
	run_model(REJECT_AFTER_MESSAGES - MODEL_COUNTERS / 2, 300000, 30000);
	/* the last 40 counters before the limit, and those behind it */
	run_model(REJECT_AFTER_MESSAGES - 40, 20000, 30);
}

static void window_is_exact(void **state)
{
	struct replay_window w = {0};

	assert_true(replay_check_and_set(&w, 100000));
	assert_false(replay_check_and_set(&w, 100000));
	assert_true(replay_check_and_set(&w, 100000 - REPLAY_WINDOW + 1));
	assert_false(replay_check_and_set(&w, 100000 - REPLAY_WINDOW + 1));
	assert_false(replay_check_and_set(&w, 100000 - REPLAY_WINDOW));
	assert_true(replay_check_and_set(&w, 100001));
	assert_true(REPLAY_WINDOW >= 8192);
}

static void limit_is_refused(void **state)
{
	struct replay_window w = {0};

	assert_false(replay_check_and_set(&w, REJECT_AFTER_MESSAGES));
	assert_false(replay_check_and_set(&w, UINT64_MAX));
	assert_true(replay_check_and_set(&w, 0));
	assert_true(replay_check_and_set(&w, REJECT_AFTER_MESSAGES - 1));
	assert_false(replay_check_and_set(&w, REJECT_AFTER_MESSAGES)); /* same word as the newest */
	assert_false(replay_check_and_set(&w, REJECT_AFTER_MESSAGES - 1));
	assert_false(replay_check_and_set(&w, 0));
}

static void every_order_within_the_window(void **state)
{
	struct replay_window w = {0};

	/* newest first: all of a full window are taken once */
	for (int64_t c = REPLAY_WINDOW - 1; c >= 0; c--)
		assert_true(replay_check_and_set(&w, c));
	for (int64_t c = 0; c < REPLAY_WINDOW; c++)
		assert_false(replay_check_and_set(&w, c));
}

static void long_jump_forgets_old_bits(void **state)
{
	struct replay_window w = {0};
	uint64_t far = 1ULL << 40;

	for (uint64_t c = 0; c < REPLAY_WINDOW; c++)
		assert_true(replay_check_and_set(&w, c));
	assert_true(replay_check_and_set(&w, far));
	for (uint64_t c = far - REPLAY_WINDOW + 1; c < far; c++)
		assert_true(replay_check_and_set(&w, c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(window_is_exact),
		cmocka_unit_test(limit_is_refused),
		cmocka_unit_test(every_order_within_the_window),
		cmocka_unit_test(long_jump_forgets_old_bits),
		cmocka_unit_test(random_from_zero),
		cmocka_unit_test(random_near_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
