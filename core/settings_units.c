/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Durations, sizes, rates and keys as text: a whole number with its unit ("120s", "64MiB",
 * "10Gbit/s"), durations also as a sum ("1h30m"). Fractions are refused, a smaller unit says the
 * same exactly. Pure: runs on any thread.
 */
#include <tailplane/settings.h>

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

struct unit {
	const char *name;
	uint64_t scale;
	bool printed; /* formatters choose among these */
};

/* Each table: largest first; the last unit has scale 1, so that each value has an exact form. */
static const struct unit duration_units[] = {
	{"d", 86400000000000, true},
	{"h", 3600000000000, true},
	{"m", 60000000000, true},
	{"s", 1000000000, true},
	{"ms", 1000000, true},
	{"us", 1000, true},
	{"ns", 1, true},
	{0},
};

static const struct unit size_units[] = {
	{"TiB", 1ULL << 40, true},
	{"TB", 1000000000000, true},
	{"GiB", 1 << 30, true},
	{"GB", 1000000000, true},
	{"MiB", 1 << 20, true},
	{"MB", 1000000, true},
	{"KiB", 1 << 10, true},
	{"kB", 1000, false}, /* a frame of 9000B is not thought of as 9kB */
	{"B", 1, true},
	{0},
};

static const struct unit rate_units[] = {
	{"Tbit/s", 1000000000000, true},
	{"Gbit/s", 1000000000, true},
	{"Mbit/s", 1000000, true},
	{"kbit/s", 1000, true},
	{"bit/s", 1, true},
	{0},
};

static const char *unit_names(const struct unit *units, char buf[static 64])
{
	size_t len = 0;

	for (; units->name; units++)
		len += (size_t)snprintf(buf + len, 64 - len, "%s%s", len ? ", " : "", units->name);
	return buf;
}

static int take_number(const char **text, uint64_t *value)
{
	const char *at = *text;
	uint64_t n = 0;

	if (*at < '0' || *at > '9')
		return -EINVAL;
	for (; *at >= '0' && *at <= '9'; at++) {
		if (__builtin_mul_overflow(n, 10, &n) ||
			__builtin_add_overflow(n, (uint64_t)(*at - '0'), &n))
			return -ERANGE;
	}
	*text = at;
	*value = n;
	return 0;
}

/* The unit that spans from `text` to the next digit or the end. */
static const struct unit *take_unit(const struct unit *units, const char **text)
{
	size_t len = strcspn(*text, "0123456789");

	for (; units->name; units++) {
		if (strlen(units->name) == len && !memcmp(units->name, *text, len)) {
			*text += len;
			return units;
		}
	}
	return NULL;
}

static int complain(struct err *err, const struct unit *units, const char *text, const char *wrong,
	const char *example)
{
	char names[64];

	return err_set(err, -EINVAL,
		"\"%.64s\" %s; write a whole number and its unit (%s), such as \"%s\"", text, wrong,
		unit_names(units, names), example);
}

/* What is wrong with the next term of the text, which ends up in `value`; NULL: nothing. */
static const char *take_term(
	const struct unit *units, const char **text, const struct unit **unit, uint64_t *value)
{
	switch (take_number(text, value)) {
	case -ERANGE:
		return "is too large";
	case -EINVAL:
		return "is not a number with a unit";
	}
	if (**text == '.')
		return "has a fraction";
	*unit = take_unit(units, text);
	if (!*unit)
		return **text ? "has an unknown unit" : "has no unit";
	if (__builtin_mul_overflow(*value, (*unit)->scale, value))
		return "is too large";
	return NULL;
}

static int parse(const struct unit *units, uint64_t *out, const char *text, struct err *err,
	bool sum, const char *example)
{
	const struct unit *unit, *last = NULL;
	const char *at = text, *wrong;
	uint64_t total = 0, value;

	do {
		wrong = take_term(units, &at, &unit, &value);
		if (!wrong && last && !sum)
			wrong = "has two units";
		else if (!wrong && last && unit->scale >= last->scale)
			wrong = "does not go from larger to smaller units";
		else if (!wrong && __builtin_add_overflow(total, value, &total))
			wrong = "is too large";
		if (wrong)
			return complain(err, units, text, wrong, example);
		last = unit;
	} while (*at);

	*out = total;
	return 0;
}

int setting_parse_duration(uint64_t *ns, const char *text, struct err *err)
{
	return parse(duration_units, ns, text, err, true, "120s");
}

int setting_parse_size(uint64_t *bytes, const char *text, struct err *err)
{
	return parse(size_units, bytes, text, err, false, "64MiB");
}

int setting_parse_rate(uint64_t *bits, const char *text, struct err *err)
{
	return parse(rate_units, bits, text, err, false, "10Gbit/s");
}

/* The shortest of the forms with one unit; of two as short, the larger unit. */
static const char *format(const struct unit *units, uint64_t value, char buf[static 32])
{
	char form[32];

	buf[0] = '\0';
	for (; units->name; units++) {
		/* zero is exact in all units: the last one names the kind best */
		if (!units->printed || value % units->scale || (!value && units->scale > 1))
			continue;
		snprintf(form, sizeof(form), "%" PRIu64 "%s", value / units->scale, units->name);
		if (!buf[0] || strlen(form) < strlen(buf))
			memcpy(buf, form, sizeof(form));
	}
	return buf;
}

/* From the largest unit down, each at most once: "1d1s". False when that is longer than `buf`. */
static bool format_sum(const struct unit *units, uint64_t value, char buf[static 32])
{
	size_t len = 0;

	for (; value; units++) {
		if (value < units->scale)
			continue;
		len += (size_t)snprintf(
			buf + len, 32 - len, "%" PRIu64 "%s", value / units->scale, units->name);
		if (len >= 32)
			return false;
		value %= units->scale;
	}
	return len > 0;
}

const char *setting_format_duration(uint64_t ns, char buf[static 32])
{
	char sum[32];

	if (!ns)
		return strcpy(buf, "0s");
	format(duration_units, ns, buf);
	if (format_sum(duration_units, ns, sum) && strlen(sum) < strlen(buf))
		strcpy(buf, sum);
	return buf;
}

const char *setting_format_size(uint64_t bytes, char buf[static 32])
{
	return format(size_units, bytes, buf);
}

const char *setting_format_rate(uint64_t bits, char buf[static 32])
{
	return format(rate_units, bits, buf);
}

/* The key in its one form, or false: libsodium 1.0.18 takes some bytes beyond ASCII for letters, so
 * what it read is written again and compared. Without branches on the content: it may be a secret.
 */
static bool decode_key(uint8_t key[static 32], const char *text)
{
	char again[45];
	size_t len;
	bool ok;

	if (strlen(text) != sizeof(again) - 1 ||
		sodium_base642bin(key, 32, text, sizeof(again) - 1, NULL, &len, NULL,
			sodium_base64_VARIANT_ORIGINAL) ||
		len != 32)
		return false;
	setting_format_key(key, again);
	ok = !sodium_memcmp(again, text, sizeof(again));
	sodium_memzero(again, sizeof(again));
	return ok;
}

int setting_parse_key(uint8_t key[static 32], const char *text, struct err *err)
{
	uint8_t bytes[32];
	bool ok = decode_key(bytes, text);

	if (ok)
		memcpy(key, bytes, sizeof(bytes));
	sodium_memzero(bytes, sizeof(bytes));
	if (ok)
		return 0;
	/* the text is not shown: it may be a private key in the wrong place */
	return err_set(err, -EINVAL, "not a key: write its 32 bytes in base64, 44 characters");
}

const char *setting_format_key(const uint8_t key[static 32], char buf[static 45])
{
	return sodium_bin2base64(buf, 45, key, 32, sodium_base64_VARIANT_ORIGINAL);
}
