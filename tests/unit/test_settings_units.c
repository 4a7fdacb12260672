/* SPDX-License-Identifier: BSD-3-Clause */
/* Durations, sizes, rates and keys as text: what is read prints back, what is wrong gets a reason.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/settings.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

typedef int (*parse_fn)(uint64_t *value, const char *text, struct err *err);
typedef const char *(*format_fn)(uint64_t value, char buf[static 32]);

struct unit_form {
	const char *text;
	uint64_t value;
	const char *printed; /* NULL: as the text */
};

static void check_units(const struct unit_form *forms, size_t n, parse_fn parse, format_fn format)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t value = 1;
		char buf[32];

		assert_int_equal(parse(&value, forms[i].text, NULL), 0);
		assert_true(value == forms[i].value);
		assert_string_equal(
			format(value, buf), forms[i].printed ? forms[i].printed : forms[i].text);
	}
}

static void durations(void **state)
{
	static const struct unit_form forms[] = {
		{"0s", 0},
		{"0d", 0, "0s"},
		{"120s", 120000000000, "2m"},
		{"250ms", 250000000},
		{"1h30m", 5400000000000, "90m"},
		{"90m", 5400000000000},
		{"1d1s", 86401000000000},
		{"5us", 5000},
		{"18446744073709551615ns", UINT64_MAX},
		{"1001001001ns", 1001001001, "1s1ms1us1ns"},
	};

	check_units(forms, COUNT(forms), setting_parse_duration, setting_format_duration);
}

static void sizes(void **state)
{
	static const struct unit_form forms[] = {
		{"0B", 0},
		{"9000B", 9000},
		{"9kB", 9000, "9000B"},
		{"64MiB", 64 << 20},
		{"1024KiB", 1 << 20, "1MiB"},
		{"10GB", 10000000000},
		{"18446744073709551615B", UINT64_MAX},
		{"16777215TiB", 16777215ULL << 40},
	};

	check_units(forms, COUNT(forms), setting_parse_size, setting_format_size);
}

static void rates(void **state)
{
	static const struct unit_form forms[] = {
		{"0bit/s", 0},
		{"10Gbit/s", 10000000000},
		{"2500Mbit/s", 2500000000},
		{"1000kbit/s", 1000000, "1Mbit/s"},
		{"1Tbit/s", 1000000000000},
		{"1001bit/s", 1001},
	};

	check_units(forms, COUNT(forms), setting_parse_rate, setting_format_rate);
}

static void units_refuse_with_a_reason(void **state)
{
	static const struct {
		parse_fn parse;
		const char *text, *reason;
	} bad[] = {
		{setting_parse_duration, "", "not a number"},
		{setting_parse_duration, "s", "not a number"},
		{setting_parse_duration, " 1s", "not a number"},
		{setting_parse_duration, "-1s", "not a number"},
		{setting_parse_duration, "120", "no unit"},
		{setting_parse_duration, "1s ", "unknown unit"},
		{setting_parse_duration, "1S", "unknown unit"},
		{setting_parse_duration, "1.5s", "fraction"},
		{setting_parse_duration, "1m1h", "larger to smaller"},
		{setting_parse_duration, "1m1m", "larger to smaller"},
		{setting_parse_duration, "1m30", "no unit"},
		{setting_parse_duration, "18446744073709551616ns", "too large"},
		{setting_parse_duration, "213504d", "too large"},
		{setting_parse_duration, "213503d23h59m59s999999999999999999ns", "too large"},
		{setting_parse_duration, "99999999999999999999999d", "too large"},
		{setting_parse_size, "16777216TiB", "too large"},
		{setting_parse_size, "64M", "unknown unit"},
		{setting_parse_size, "1MiB1KiB", "two units"},
		{setting_parse_rate, "10Gb/s", "unknown unit"},
		{setting_parse_rate, "10Gbit/s/s", "unknown unit"},
	};

	for (size_t i = 0; i < COUNT(bad); i++) {
		struct err err = {0};
		uint64_t value = 77;

		assert_int_equal(bad[i].parse(&value, bad[i].text, &err), -EINVAL);
		assert_non_null(strstr(err.msg, bad[i].reason));
		assert_true(value == 77);
	}
}

/* Every value has a form, and no form is longer than its buffer or says another value. */
static void units_round_trip_for_random_values(void **state)
{
	static const struct {
		parse_fn parse;
		format_fn format;
	} kinds[] = {
		{setting_parse_duration, setting_format_duration},
		{setting_parse_size, setting_format_size},
		{setting_parse_rate, setting_format_rate},
	};
	static const uint64_t scales[] = {1, 1000, 1024, 60000000000, 1 << 30, 3600000000000};

	srandom(2);
	for (int i = 0; i < 30000; i++) {
		uint64_t value = (((uint64_t)random() << 32) ^ (uint64_t)random()) >> random() % 64;
		uint64_t back;
		char buf[32];

		if (random() % 2)
			value = (value >> 44) * scales[random() % COUNT(scales)];
		assert_int_equal(
			kinds[i % 3].parse(&back, kinds[i % 3].format(value, buf), NULL), 0);
		assert_true(back == value);
	}
}

static void keys(void **state)
{
	static const char text[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
	static const char *const bad[] = {"", "AAEC", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=", /* bits that are in no byte */
		" AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= ",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gIQ==",
		"AAE\345AwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		"__ECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="};
	uint8_t key[32], before[32];
	char buf[45];

	assert_int_equal(setting_parse_key(key, text, NULL), 0);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(key[i], i);
	assert_string_equal(setting_format_key(key, buf), text);

	memcpy(before, key, sizeof(key));
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct err err = {0};

		assert_int_equal(setting_parse_key(key, bad[i], &err), -EINVAL);
		assert_non_null(strstr(err.msg, "base64"));
		assert_true(!*bad[i] || !strstr(err.msg, bad[i])); /* it may be a secret */
	}
	assert_memory_equal(key, before, sizeof(key));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations),
		cmocka_unit_test(sizes),
		cmocka_unit_test(rates),
		cmocka_unit_test(units_refuse_with_a_reason),
		cmocka_unit_test(units_round_trip_for_random_values),
		cmocka_unit_test(keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
