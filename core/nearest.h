/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * "did you mean": of the words offered, the one nearest to what was typed, if it is near enough to
 * be a slip. Start: `struct nearest n = {.typed = word};`; then `best` is NULL or a word offered.
 */
struct nearest {
	const char *typed;
	const char *best;
	unsigned distance;
};

void nearest_offer(struct nearest *nearest, const char *word);
