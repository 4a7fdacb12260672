/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The window against replayed data messages, after RFC 6479: a ring of words, one bit per counter,
 * which slides by clearing whole words. One word more than the window needs, so that the window is
 * never smaller than REPLAY_WINDOW.
 *
 * One writer, no lock: only the owner of the receiving key touches it, and only with counters of
 * messages that were found authentic. All zero is a fresh window.
 */
#include <stdbool.h>
#include <stdint.h>

#include "messages.h"

#define REPLAY_WORD_BITS 64
#define REPLAY_WORDS (REPLAY_WINDOW / REPLAY_WORD_BITS + 1)

struct replay_window {
	uint64_t highest; /* counter seen; 0 also when none */
	uint64_t words[REPLAY_WORDS];
};

bool replay_check_and_set_outside(struct replay_window *replay, uint64_t counter);

/* The word that a counter's bit is in: to be asked for early. */
static inline uint64_t *replay_word(struct replay_window *replay, uint64_t counter)
{
	return &replay->words[counter / REPLAY_WORD_BITS % REPLAY_WORDS];
}

/* True: this counter is new, and now it is marked. */
WG_MUST_USE static inline bool replay_check_and_set(struct replay_window *replay, uint64_t counter)
{
	uint64_t word = counter / REPLAY_WORD_BITS;
	uint64_t bit = 1ULL << counter % REPLAY_WORD_BITS;
	uint64_t *slot;

	/* all but one packet in 64 of a stream in order stay within the newest word */
	if (__builtin_expect(word != replay->highest / REPLAY_WORD_BITS, 0) ||
		__builtin_expect(counter >= REJECT_AFTER_MESSAGES, 0))
		return replay_check_and_set_outside(replay, counter);
	slot = &replay->words[word % REPLAY_WORDS];
	if (*slot & bit)
		return false;
	*slot |= bit;
	if (counter > replay->highest)
		replay->highest = counter;
	return true;
}
