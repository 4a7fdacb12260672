/* SPDX-License-Identifier: BSD-3-Clause */
#include "format.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <strings.h>

#include "text.h"

#define THIN_SPACE "\u202f" /* narrow and without a line break */

/* The digits of a number in groups of three, whatever follows them as it is. Heap. */
static char *group_digits(const char *number, const struct screen *screen)
{
	const char *space = screen->utf8 ? THIN_SPACE : " ";
	size_t sign = number[0] == '-', len = strspn(number + sign, "0123456789");
	char *text = text_alloc(strlen(number) * 4 + 1, 1), *out = text;

	for (size_t i = 0; number[i] != '\0'; i++) {
		if (i > sign && i < sign + len && (sign + len - i) % 3 == 0)
			out = stpcpy(out, space);
		*out++ = number[i];
	}
	*out = '\0';
	return text;
}

static char *format_count(const json_t *value, const struct screen *screen)
{
	char *number = json_is_integer(value)
			       ? text_printf("%" JSON_INTEGER_FORMAT, json_integer_value(value))
			       : text_printf("%.1f", json_real_value(value));
	char *text = group_digits(number, screen);

	free(number);
	return text;
}

static char *format_scaled(double n, double step, const char *const *units, unsigned n_units)
{
	unsigned unit = 0;

	/* What would round to the next unit is shown in it. */
	while (fabs(n) >= step - (unit > 0 ? 0.05 : 0) && unit + 1 < n_units) {
		n /= step;
		unit++;
	}
	return text_printf(unit > 0 ? "%.1f %s" : "%.0f %s", n, units[unit]);
}

static char *format_bytes(double n)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};

	return format_scaled(n, 1024, units, 7);
}

static char *format_bitrate(double n)
{
	static const char *const units[] = {"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"};

	return format_scaled(n, 1000, units, 5);
}

/* The two largest units of a time in seconds. */
static char *format_seconds(int64_t s)
{
	static const struct {
		int64_t seconds;
		const char *name;
	} units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
	size_t i = 0;

	while (i < 3 && s < units[i].seconds)
		i++;
	int64_t first = s / units[i].seconds, rest = s % units[i].seconds;
	int64_t second = i < 3 ? rest / units[i + 1].seconds : 0;

	if (second == 0)
		return text_printf("%" PRId64 " %s", first, units[i].name);
	return text_printf(
		"%" PRId64 " %s %" PRId64 " %s", first, units[i].name, second, units[i + 1].name);
}

static char *format_duration(double ns, const struct screen *screen)
{
	static const char *const units[] = {"ns", "\u00b5s", "ms", "s"};
	static const char *const ascii_units[] = {"ns", "us", "ms", "s"};

	if (ns == 0)
		return text_copy("0 s", 3);
	if (fabs(ns) >= 60e9)
		return format_seconds((int64_t)(ns / 1e9));
	return format_scaled(ns, 1000, screen->utf8 ? units : ascii_units, 4);
}

static char *format_ago(int64_t when, const struct screen *screen)
{
	if (when == 0)
		return text_copy("never", 5);
	int64_t ago = screen->now_s - when;
	char *time = format_seconds(ago < 0 ? -ago : ago);
	char *text = ago < 0 ? text_printf("in %s", time) : text_printf("%s ago", time);

	free(time);
	return text;
}

/* RFC 3339, in UTC as all of ours are. */
static bool time_read(const char *text, int64_t *when)
{
	struct tm tm = {0};
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	if (rest == NULL || (*rest != '.' && *rest != 'Z'))
		return false;
	*when = timegm(&tm);
	return true;
}

static char *format_number(const json_t *value, enum op_format format, const struct screen *screen)
{
	double number = json_number_value(value);
	bool whole = json_is_integer(value);

	switch (format) {
	case OP_COUNT:
	case OP_COUNTER:
		return format_count(value, screen);
	case OP_BYTES:
	case OP_TRAFFIC:
		return format_bytes(number);
	case OP_BITRATE:
		return format_bitrate(number);
	case OP_DURATION:
		return format_duration(number, screen);
	case OP_AGO:
		return format_ago((int64_t)number, screen);
	case OP_PERCENT:
		return text_printf("%.1f %%", number);
	default:
		return whole ? text_printf("%" JSON_INTEGER_FORMAT, json_integer_value(value))
			     : text_printf("%.6g", number);
	}
}

static char *append(char *text, const char *separator, const char *more)
{
	char *longer = text_printf("%s%s%s", text, text[0] != '\0' ? separator : "", more);

	free(text);
	return longer;
}

static char *format_members(const json_t *object, const struct screen *screen)
{
	char *text = text_copy("", 0);
	const char *key;
	json_t *member;

	json_object_foreach ((json_t *)object, key, member) {
		char *value = format_value(member, OP_TEXT, screen, false);
		char *clean = text_clean(key, 0);
		char *pair = text_printf("%s=%s", clean, value);

		text = append(text, " ", pair);
		free(pair);
		free(clean);
		free(value);
	}
	return text;
}

static char *format_items(const json_t *array, enum op_format format, const struct screen *screen)
{
	bool objects = json_is_object(json_array_get(array, 0));
	char *text = text_copy("", 0);
	size_t i;
	json_t *item;

	json_array_foreach (array, i, item) {
		char *one = format_value(item, format, screen, false);

		text = append(text, objects ? "; " : ", ", one);
		free(one);
	}
	return text;
}

char *format_value(
	const json_t *value, enum op_format format, const struct screen *screen, bool lines)
{
	int64_t when;

	switch (value != NULL ? json_typeof(value) : JSON_NULL) {
	case JSON_OBJECT:
		return json_object_size(value) > 0 ? format_members(value, screen)
						   : text_copy("-", 1);
	case JSON_ARRAY:
		return json_array_size(value) > 0 ? format_items(value, format, screen)
						  : text_copy("-", 1);
	case JSON_STRING:
		if (json_string_length(value) == 0)
			return text_copy("-", 1);
		if (format == OP_AGO && time_read(json_string_value(value), &when))
			return format_ago(when, screen);
		return text_clean(json_string_value(value), lines ? KEEP_LINES : 0);
	case JSON_INTEGER:
	case JSON_REAL:
		return format_number(value, format, screen);
	case JSON_TRUE:
		return text_copy("yes", 3);
	case JSON_FALSE:
		return text_copy("no", 2);
	default:
		return text_copy("-", 1);
	}
}

enum tone format_tone(const json_t *value, enum op_format format)
{
	static const struct {
		const char *word;
		enum tone tone;
	} states[] = {
		{"up", TONE_GOOD},
		{"ok", TONE_GOOD},
		{"yes", TONE_GOOD},
		{"active", TONE_GOOD},
		{"running", TONE_GOOD},
		{"online", TONE_GOOD},
		{"reachable", TONE_GOOD},
		{"connected", TONE_GOOD},
		{"established", TONE_GOOD},
		{"starting", TONE_WARN},
		{"stopping", TONE_WARN},
		{"pending", TONE_WARN},
		{"waiting", TONE_WARN},
		{"stale", TONE_WARN},
		{"degraded", TONE_WARN},
		{"incomplete", TONE_WARN},
		{"handshake", TONE_WARN},
		{"disabled", TONE_WARN},
		{"warning", TONE_WARN},
		{"down", TONE_BAD},
		{"failed", TONE_BAD},
		{"error", TONE_BAD},
		{"no", TONE_BAD},
		{"offline", TONE_BAD},
		{"unreachable", TONE_BAD},
		{"lost", TONE_BAD},
		{"removed", TONE_BAD},
	};
	const char *text = json_is_true(value)    ? "yes"
			   : json_is_false(value) ? "no"
						  : json_string_value(value);

	if (format != OP_STATE || text == NULL)
		return TONE_PLAIN;
	size_t len = strcspn(text, " :,(");

	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (strlen(states[i].word) == len && strncasecmp(states[i].word, text, len) == 0)
			return states[i].tone;
	return TONE_PLAIN;
}

bool format_right(enum op_format format)
{
	return format == OP_COUNT || format == OP_COUNTER || format == OP_BYTES ||
	       format == OP_TRAFFIC || format == OP_BITRATE || format == OP_DURATION ||
	       format == OP_PERCENT;
}

const char *tone_begin(enum tone tone, const struct screen *screen)
{
	static const char *const codes[] = {
		[TONE_PLAIN] = "",
		[TONE_TITLE] = "\033[1m",
		[TONE_GOOD] = "\033[32m",
		[TONE_WARN] = "\033[33m",
		[TONE_BAD] = "\033[31m",
	};

	return screen->colour ? codes[tone] : "";
}

const char *tone_end(enum tone tone, const struct screen *screen)
{
	return screen->colour && tone != TONE_PLAIN ? "\033[0m" : "";
}
