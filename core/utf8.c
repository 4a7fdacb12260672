/* SPDX-License-Identifier: BSD-3-Clause */
/* Pure: runs on any thread. */
#include <tailplane/utf8.h>

#include <stddef.h>
#include <stdint.h>

/* RFC 3629, section 4: the first byte fixes the length and the range of the second. */
static const struct {
	uint8_t first_min, first_max, second_min, second_max;
	unsigned len;
} forms[] = {
	{0x00, 0x7f, 0, 0, 1},
	{0xc2, 0xdf, 0x80, 0xbf, 2},
	{0xe0, 0xe0, 0xa0, 0xbf, 3},
	{0xe1, 0xec, 0x80, 0xbf, 3},
	{0xed, 0xed, 0x80, 0x9f, 3},
	{0xee, 0xef, 0x80, 0xbf, 3},
	{0xf0, 0xf0, 0x90, 0xbf, 4},
	{0xf1, 0xf3, 0x80, 0xbf, 4},
	{0xf4, 0xf4, 0x80, 0x8f, 4},
};

/* The text's NUL ends a cut one. */
unsigned utf8_character(const char *text)
{
	const uint8_t *at = (const uint8_t *)text;

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (at[0] < forms[i].first_min || at[0] > forms[i].first_max)
			continue;
		if (forms[i].len > 1 &&
			(at[1] < forms[i].second_min || at[1] > forms[i].second_max))
			return 0;
		for (unsigned j = 2; j < forms[i].len; j++) {
			if ((at[j] & 0xc0) != 0x80)
				return 0;
		}
		return forms[i].len;
	}
	return 0;
}

bool utf8_valid(const char *text)
{
	while (*text) {
		unsigned len = utf8_character(text);

		if (!len)
			return false;
		text += len;
	}
	return true;
}
