/* SPDX-License-Identifier: BSD-3-Clause */
/* Protocol library: runs on the worker that owns the receiving key. */
#include "replay.h"

/* Clears the words that the window slides over: those after the newest, up to the new one. */
static void slide(struct replay_window *replay, uint64_t counter)
{
	uint64_t from = replay->highest / REPLAY_WORD_BITS;
	uint64_t n = counter / REPLAY_WORD_BITS - from;

	if (n > REPLAY_WORDS)
		n = REPLAY_WORDS;
	for (uint64_t i = 1; i <= n; i++)
		replay->words[(from + i) % REPLAY_WORDS] = 0;
	replay->highest = counter;
}

bool replay_check_and_set_outside(struct replay_window *replay, uint64_t counter)
{
	uint64_t *word = &replay->words[counter / REPLAY_WORD_BITS % REPLAY_WORDS];
	uint64_t bit = 1ULL << counter % REPLAY_WORD_BITS;

	if (counter >= REJECT_AFTER_MESSAGES)
		return false;
	if (counter > replay->highest)
		slide(replay, counter);
	else if (replay->highest - counter >= REPLAY_WINDOW)
		return false;
	if (*word & bit)
		return false;
	*word |= bit;
	return true;
}
