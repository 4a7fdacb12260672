/* SPDX-License-Identifier: BSD-3-Clause */
/* Values and text as a terminal shows them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format.h"
#include "text.h"
#include "words.h"

static const struct screen utf8 = {.utf8 = true, .now_s = 1000000};
static const struct screen ascii = {.now_s = 1000000};

static void check(
	const char *json, enum op_format format, const struct screen *screen, const char *expected)
{
	json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);

	assert_non_null(value);
	char *text = format_value(value, format, screen, false);

	assert_string_equal(text, expected);
	free(text);
	json_decref(value);
}

static void test_formats(void **state)
{
	check("0", OP_COUNT, &utf8, "0");
	check("999", OP_COUNT, &utf8, "999");
	check("1000", OP_COUNT, &utf8, "1\u202f000");
	check("1234567", OP_COUNT, &ascii, "1 234 567");
	check("-1234", OP_COUNT, &ascii, "-1 234");
	check("62979.44", OP_COUNT, &ascii, "62 979.4");
	check("-0.04", OP_COUNT, &ascii, "-0.0");
	check("-9223372036854775808", OP_COUNT, &ascii, "-9 223 372 036 854 775 808");
	check("0", OP_BYTES, &utf8, "0 B");
	check("1023", OP_BYTES, &utf8, "1023 B");
	check("1024", OP_BYTES, &utf8, "1.0 KiB");
	check("1048575", OP_BYTES, &utf8, "1.0 MiB");
	check("1288490188", OP_BYTES, &utf8, "1.2 GiB");
	check("9223372036854775807", OP_BYTES, &utf8, "8.0 EiB");
	check("999", OP_BITRATE, &utf8, "999 bit/s");
	check("10000000000", OP_BITRATE, &utf8, "10.0 Gbit/s");
	check("0", OP_DURATION, &utf8, "0 s");
	check("12300", OP_DURATION, &utf8, "12.3 \u00b5s");
	check("12300", OP_DURATION, &ascii, "12.3 us");
	check("250000000", OP_DURATION, &utf8, "250.0 ms");
	check("59900000000", OP_DURATION, &utf8, "59.9 s");
	check("60000000000", OP_DURATION, &utf8, "1 min");
	check("3780000000000", OP_DURATION, &utf8, "1 h 3 min");
	check("90000000000000", OP_DURATION, &utf8, "1 d 1 h");
	check("0", OP_AGO, &utf8, "never");
	check("999988", OP_AGO, &utf8, "12 s ago");
	check("999815", OP_AGO, &utf8, "3 min 5 s ago");
	check("1000005", OP_AGO, &utf8, "in 5 s");
	check("12.34", OP_PERCENT, &utf8, "12.3 %");
	check("42", OP_TEXT, &utf8, "42");
	check("0.5", OP_TEXT, &utf8, "0.5");
	check("true", OP_TEXT, &utf8, "yes");
	check("false", OP_STATE, &utf8, "no");
	check("null", OP_BYTES, &utf8, "-");
	check("\"\"", OP_TEXT, &utf8, "-");
	check("[]", OP_TEXT, &utf8, "-");
	check("[\"a\",\"b\"]", OP_TEXT, &utf8, "a, b");
	check("[1024,2048]", OP_BYTES, &utf8, "1.0 KiB, 2.0 KiB");
	check("{\"a\":1,\"b\":[\"x\"]}", OP_TEXT, &utf8, "a=1 b=x");
	check("[{\"a\":1},{\"a\":2}]", OP_TEXT, &utf8, "a=1; a=2");
	check("\"\\u001b[31mred\\n\"", OP_TEXT, &utf8, "\\x1b[31mred\\n");
}

static void check_tone(const char *json, enum tone tone)
{
	json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);

	assert_int_equal(format_tone(value, OP_STATE), tone);
	assert_int_equal(format_tone(value, OP_TEXT), TONE_PLAIN);
	json_decref(value);
}

static void test_tones(void **state)
{
	check_tone("\"up\"", TONE_GOOD);
	check_tone("\"UP\"", TONE_GOOD);
	check_tone("\"starting\"", TONE_WARN);
	check_tone("\"failed: no such port\"", TONE_BAD);
	check_tone("\"upside down\"", TONE_PLAIN);
	check_tone("true", TONE_GOOD);
	check_tone("false", TONE_BAD);
	check_tone("7", TONE_PLAIN);
}

static void test_width(void **state)
{
	assert_int_equal(text_width(""), 0);
	assert_int_equal(text_width("abc"), 3);
	assert_int_equal(text_width("gr\u00fcn"), 4);
	assert_int_equal(text_width("e\u0301"), 1);
	assert_int_equal(text_width("\u65e5\u672c"), 4);
	/* A sequence cut short counts byte by byte. */
	assert_int_equal(text_width("\xe6\x97"), 2);
	assert_int_equal(text_clip("\u65e5\u672c", 3), 3);
	assert_int_equal(text_clip("abc", 2), 2);
	assert_int_equal(text_clip("abc", 9), 3);
	/* What takes no column stays with its letter. */
	assert_int_equal(text_clip("e\u0301x", 1), 3);
}

static void test_clean(void **state)
{
	static const struct {
		const char *dirty, *clean;
	} cases[] = {
		{"plain", "plain"},
		{"a\tb\x01", "a\\tb\\x01"},
		{"\xc2\x9b"
		 "31m",
			"\\x9b31m"},
		{"\x9b", "\\x9b"},
		{"\u202etxt.exe", "\\u202etxt.exe"},
		{"gr\u00fcn \xff", "gr\u00fcn \xff"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *clean = text_clean(cases[i].dirty, 0);

		assert_string_equal(clean, cases[i].clean);
		free(clean);
	}
	char *lines = text_clean("a\nb\n", KEEP_LINES);

	assert_string_equal(lines, "a\nb\n");
	free(lines);
	char *coloured = text_clean("\033[30;107mx\033[0m\033[2J\033[1", KEEP_COLOURS);

	assert_string_equal(coloured, "\033[30;107mx\033[0m\\x1b[2J\\x1b[1");
	free(coloured);
}

static void test_words(void **state)
{
	static const struct {
		const char *line, *words[5];
	} cases[] = {
		{"", {""}},
		{"tailplane", {"tailplane"}},
		{"tailplane ", {"tailplane", ""}},
		{"a  'b c'd \"e\\\"f\"", {"a", "b cd", "e\"f"}},
		{"a b\\ c 'unclosed d", {"a", "b c", "unclosed d"}},
		{"a ''", {"a", ""}},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct words words;
		size_t n = 0;

		words_split(&words, cases[i].line);
		for (; cases[i].words[n] != NULL; n++)
			assert_string_equal(words.words[n], cases[i].words[n]);
		assert_int_equal(words.count, n);
		words_free(&words);
	}
}

static int set_up(void **state)
{
	text_init();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_tones),
		cmocka_unit_test(test_width),
		cmocka_unit_test(test_clean),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
