/* SPDX-License-Identifier: BSD-3-Clause */
/* Samples as Prometheus text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metrics_text.h"
#include "prng.h"

static const struct metric gauge = {"g", METRIC_GAUGE, "A gauge."};

static void expect(struct metric_sink *sink, const char *expected)
{
	size_t len;
	char *text = metric_sink_finish(sink, &len);

	assert_non_null(text);
	assert_string_equal(text, expected);
	assert_int_equal(len, strlen(expected));
	free(text);
}

static void test_nothing(void **state)
{
	(void)state;
	expect(metric_sink_new(), "");
}

static void test_head_comes_once(void **state)
{
	static const struct metric again = {"g", METRIC_GAUGE, "A gauge."};
	static const struct metric counter = {"c_total", METRIC_COUNTER, "A \\ counter\nof two."};
	static const struct metric_label labels[] = {{"a", "1"}, {"b", "x\"y\\z\n"}};
	struct metric_sink *sink = metric_sink_new();

	(void)state;
	metric_add(sink, &gauge, labels, 1, 1);
	metric_add(sink, &again, labels, 2, 2);
	metric_add(sink, &counter, NULL, 0, 3);
	expect(sink, "# HELP g A gauge.\n"
		     "# TYPE g gauge\n"
		     "g{a=\"1\"} 1\n"
		     "g{a=\"1\",b=\"x\\\"y\\\\z\\n\"} 2\n"
		     "# HELP c_total A \\\\ counter\\nof two.\n"
		     "# TYPE c_total counter\n"
		     "c_total 3\n");
}

static void test_histogram(void **state)
{
	static const struct metric metric = {"h", METRIC_HISTOGRAM, "A histogram."};
	static const struct metric_label label = {"l", "v"};
	static const double bounds[] = {0.1, 2.5};
	static const uint64_t counts[] = {1, 0, 4};
	struct metric_sink *sink = metric_sink_new();

	(void)state;
	metric_histogram(sink, &metric, NULL, 0, bounds, counts, 2, 9.75);
	metric_histogram(sink, &metric, &label, 1, bounds, counts, 2, 0);
	expect(sink, "# HELP h A histogram.\n"
		     "# TYPE h histogram\n"
		     "h_bucket{le=\"0.1\"} 1\n"
		     "h_bucket{le=\"2.5\"} 1\n"
		     "h_bucket{le=\"+Inf\"} 5\n"
		     "h_sum 9.75\n"
		     "h_count 5\n"
		     "h_bucket{l=\"v\",le=\"0.1\"} 1\n"
		     "h_bucket{l=\"v\",le=\"2.5\"} 1\n"
		     "h_bucket{l=\"v\",le=\"+Inf\"} 5\n"
		     "h_sum{l=\"v\"} 0\n"
		     "h_count{l=\"v\"} 5\n");
}

/* The text of one value, without its name. Heap. */
static char *text_of(double value)
{
	struct metric_sink *sink = metric_sink_new();
	size_t len;
	char *text, *number;

	metric_add(sink, &gauge, NULL, 0, value);
	text = metric_sink_finish(sink, &len);
	text[len - 1] = '\0';
	number = strdup(strrchr(text, ' ') + 1);
	free(text);
	return number;
}

static void test_numbers(void **state)
{
	static const struct {
		double value;
		const char *text;
	} cases[] = {{0, "0"}, {-3, "-3"}, {0.1, "0.1"}, {1e15, "1000000000000000"},
		{1e300, "1e+300"}, {INFINITY, "+Inf"}, {-INFINITY, "-Inf"}, {NAN, "NaN"},
		{1. / 3, "0.3333333333333333"}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = text_of(cases[i].value);

		assert_string_equal(text, cases[i].text);
		free(text);
	}
}

static void test_numbers_read_back(void **state)
{
	struct prng prng = {7};

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t bits = prng_next(&prng);
		double value;
		char *text;

		memcpy(&value, &bits, sizeof(value));
		if (!isfinite(value))
			continue;
		text = text_of(value);
		assert_true(strtod(text, NULL) == value);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_head_comes_once),
		cmocka_unit_test(test_histogram),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_numbers_read_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
