/* SPDX-License-Identifier: BSD-3-Clause */
/* Pure: runs on any thread. */
#include "nearest.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#define WORD_MAX 64 /* longer words are nobody's typing slip */

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned least = a < b ? a : b;

	return least < c ? least : c;
}

static bool same(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/*
 * Edits (insert, delete, change, swap of neighbours) between two words, case aside. Three rows of
 * the table of prefixes are enough: a swap looks back two.
 */
static unsigned edit_distance(const char *a, const char *b)
{
	unsigned rows[3][WORD_MAX + 1];
	size_t a_len = strlen(a), b_len = strlen(b);

	for (unsigned j = 0; j <= b_len; j++)
		rows[0][j] = j;
	for (unsigned i = 1; i <= a_len; i++) {
		unsigned *row = rows[i % 3], *above = rows[(i - 1) % 3],
			 *above2 = rows[(i + 1) % 3];

		row[0] = i;
		for (unsigned j = 1; j <= b_len; j++) {
			row[j] = min3(row[j - 1] + 1, above[j] + 1,
				above[j - 1] + !same(a[i - 1], b[j - 1]));
			if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) &&
				same(a[i - 2], b[j - 1]) && above2[j - 2] + 1 < row[j])
				row[j] = above2[j - 2] + 1;
		}
	}
	return rows[a_len % 3][b_len];
}

void nearest_offer(struct nearest *nearest, const char *word)
{
	size_t len = strlen(nearest->typed);
	unsigned distance, limit = len < 4 ? 1 : (unsigned)len / 3 + 1;

	if (len > WORD_MAX || strlen(word) > WORD_MAX)
		return;
	distance = edit_distance(nearest->typed, word);
	if (distance > limit || (nearest->best && distance >= nearest->distance))
		return;
	nearest->best = word;
	nearest->distance = distance;
}
