/* SPDX-License-Identifier: BSD-3-Clause */
/* Protocol library. */
#include "key_text.h"

#include <string.h>

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool key_text_parse(struct public_key *key, const char *prefix, const char *text, size_t len)
{
	size_t skip = strlen(prefix);

	if (len != skip + 2 * sizeof(key->bytes) || memcmp(text, prefix, skip))
		return false;
	for (size_t i = 0; i < sizeof(key->bytes); i++) {
		int high = digit(text[skip + 2 * i]), low = digit(text[skip + 2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		key->bytes[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

const char *key_text_format(
	char buf[static KEY_TEXT_SIZE], const char *prefix, const struct public_key *key)
{
	static const char digits[] = "0123456789abcdef";
	size_t at = strlen(prefix);

	memcpy(buf, prefix, at);
	for (size_t i = 0; i < sizeof(key->bytes); i++) {
		buf[at++] = digits[key->bytes[i] >> 4];
		buf[at++] = digits[key->bytes[i] & 15];
	}
	buf[at] = 0;
	return buf;
}
