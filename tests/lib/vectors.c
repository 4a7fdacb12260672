/* SPDX-License-Identifier: BSD-3-Clause */
#include "vectors.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t hex_bytes(uint8_t *out, size_t size, const char *hex)
{
	size_t n = 0;

	while (*hex != '\0') {
		if (isspace((unsigned char)*hex)) {
			hex++;
			continue;
		}
		int high = digit(hex[0]), low = high < 0 ? -1 : digit(hex[1]);
		if (low < 0)
			fail_msg("not hex: %s", hex);
		if (n == size)
			fail_msg("more than %zu bytes", size);
		out[n++] = (uint8_t)(high << 4 | low);
		hex += 2;
	}
	return n;
}

void assert_hex(const uint8_t *got, size_t len, const char *hex)
{
	uint8_t expected[1024];

	assert_int_equal(hex_bytes(expected, sizeof(expected), hex), len);
	assert_memory_equal(got, expected, len);
}

json_t *wycheproof_load(const char *file)
{
	const char *folder = getenv("TAILPLANE_TESTDATA");
	char path[4096];
	json_error_t error;

	if (folder == NULL)
		folder = TESTDATA_DIR;
	snprintf(path, sizeof(path), "%s/wycheproof/%s", folder, file);
	json_t *json = json_load_file(path, 0, &error);
	if (json == NULL && json_error_code(&error) == json_error_cannot_open_file) {
		print_message("no Wycheproof vectors: %s\n", error.text);
		skip();
	}
	if (json == NULL)
		fail_msg("%s:%d: %s", path, error.line, error.text);
	return json;
}

const char *vector_text(const json_t *vector, const char *member)
{
	const char *text = json_string_value(json_object_get(vector, member));

	if (text == NULL)
		fail_msg("a vector without '%s'", member);
	return text;
}

size_t vector_bytes(const json_t *vector, const char *member, uint8_t *out, size_t size)
{
	return hex_bytes(out, size, vector_text(vector, member));
}
