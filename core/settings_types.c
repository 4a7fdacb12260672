/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One row per type of setting: how it is read, checked, printed and compared. Defaults go through
 * the same rows as the text does. Pure: runs on any thread.
 */
#include "settings_private.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <tailplane/utf8.h>

#include "nearest.h"
#include "settings_parse.h"

#define HOST_NAME_LEN_MAX 253
#define HOST_LABEL_LEN_MAX 63

/* ---- numbers and their bounds ---- */

static const char *number_text(const struct setting *setting, int64_t value, char buf[static 32])
{
	switch (setting->type) {
	case SETTING_DURATION:
		return setting_format_duration((uint64_t)value, buf);
	case SETTING_SIZE:
		return setting_format_size((uint64_t)value, buf);
	case SETTING_RATE:
		return setting_format_rate((uint64_t)value, buf);
	default:
		snprintf(buf, 32, "%" PRId64, value);
		return buf;
	}
}

const char *setting_bounds(const struct setting *setting, char buf[static 80])
{
	bool low = setting->min != (setting->type == SETTING_INT ? INT64_MIN : 0);
	bool high = setting->max != INT64_MAX;
	char min[32], max[32];

	buf[0] = '\0';
	if (!setting->min && !setting->max)
		return buf;
	number_text(setting, setting->min, min);
	number_text(setting, setting->max, max);
	if (high && (low || setting->type != SETTING_INT))
		snprintf(buf, 80, "%s to %s", min, max);
	else if (high)
		snprintf(buf, 80, "%s or less", max);
	else if (low)
		snprintf(buf, 80, "%s or more", min);
	return buf;
}

/* -1 below, 1 above, 0 within. `value` is an int64_t for INT, a uint64_t for the others. */
static int bounds_side(const struct setting *setting, uint64_t value)
{
	if (!setting->min && !setting->max)
		return 0;
	if (setting->type == SETTING_INT)
		return (int64_t)value < setting->min ? -1 : (int64_t)value > setting->max;
	if (value < (uint64_t)setting->min)
		return -1;
	return setting->max < INT64_MAX && value > (uint64_t)setting->max;
}

static int check_bounds(
	const struct setting *setting, uint64_t value, const char *text, struct err *err)
{
	int side = bounds_side(setting, value);
	char bounds[80];

	if (!side)
		return 0;
	return err_set(err, -EINVAL, "%s is too %s; it takes %s", text,
		side < 0 ? "small" : "large", setting_bounds(setting, bounds));
}

static int parse_int(struct arena *arena, const struct setting *setting, const char *text,
	void *value, struct err *err)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(text, &end, 10);
	if (errno || *end || end == text || isspace((unsigned char)*text))
		return err_set(err, -EINVAL, "\"%.64s\" is no whole number", text);
	if (check_bounds(setting, (uint64_t)n, text, err))
		return -EINVAL;
	*(int64_t *)value = n;
	return 0;
}

static int parse_with_unit(struct arena *arena, const struct setting *setting, const char *text,
	void *value, struct err *err)
{
	uint64_t n;
	int rc;

	if (setting->type == SETTING_DURATION)
		rc = setting_parse_duration(&n, text, err);
	else if (setting->type == SETTING_SIZE)
		rc = setting_parse_size(&n, text, err);
	else
		rc = setting_parse_rate(&n, text, err);
	if (rc || check_bounds(setting, n, text, err))
		return -EINVAL;
	*(uint64_t *)value = n;
	return 0;
}

/* Beyond 32 bits with an L, without which libconfig cuts it. */
static void print_int(FILE *out, const struct setting *setting, const void *value)
{
	int64_t n = *(const int64_t *)value;

	fprintf(out, "%" PRId64 "%s", n, n < INT32_MIN || n > INT32_MAX ? "L" : "");
}

static void print_with_unit(FILE *out, const struct setting *setting, const void *value)
{
	char buf[32];

	fprintf(out, "\"%s\"", number_text(setting, (int64_t) * (const uint64_t *)value, buf));
}

/* Left out, and zero is not a value that the text could give. */
static bool unset_number(const struct setting *setting, const void *value)
{
	uint64_t n = *(const uint64_t *)value;

	return !n && !setting->def && bounds_side(setting, 0);
}

/* ---- words ---- */

static int parse_bool(struct arena *arena, const struct setting *setting, const char *text,
	void *value, struct err *err)
{
	bool is_true = !strcmp(text, "true");

	if (!is_true && strcmp(text, "false"))
		return err_set(err, -EINVAL, "\"%.64s\" is neither true nor false", text);
	*(bool *)value = is_true;
	return 0;
}

static void print_bool(FILE *out, const struct setting *setting, const void *value)
{
	fputs(*(const bool *)value ? "true" : "false", out);
}

/* "a", "b", "c"; cut where it is long. */
static const char *choices_text(const struct setting *setting, char buf[static 256])
{
	size_t len = 0;

	for (int i = 0; setting->choices[i] && len < 256; i++)
		len += (size_t)snprintf(
			buf + len, 256 - len, "%s\"%s\"", i ? ", " : "", setting->choices[i]);
	return buf;
}

const char *setting_form(const struct setting *setting, char buf[static 256])
{
	char words[256];

	if (setting->type != SETTING_ENUM)
		return setting_kind(setting)->form;
	snprintf(buf, 256, "one of %.240s", choices_text(setting, words));
	return buf;
}

static int parse_enum(struct arena *arena, const struct setting *setting, const char *text,
	void *value, struct err *err)
{
	struct nearest nearest = {.typed = text};
	char words[256];

	for (int i = 0; setting->choices[i]; i++) {
		if (!strcmp(setting->choices[i], text)) {
			*(int *)value = i;
			return 0;
		}
		nearest_offer(&nearest, setting->choices[i]);
	}
	choices_text(setting, words);
	if (nearest.best)
		return err_set(err, -EINVAL, "\"%.64s\" is not among %s; did you mean \"%s\"?",
			text, words, nearest.best);
	return err_set(err, -EINVAL, "\"%.64s\" is not among %s", text, words);
}

static void print_enum(FILE *out, const struct setting *setting, const void *value)
{
	setting_print_string(out, setting->choices[*(const int *)value]);
}

static int parse_string(struct arena *arena, const struct setting *setting, const char *text,
	void *value, struct err *err)
{
	if (!utf8_valid(text))
		return err_set(err, -EINVAL, "the text is not UTF-8");
	*(char **)value = arena_strdup(arena, text);
	return 0;
}

static int parse_path(struct arena *arena, const struct setting *setting, const char *text,
	void *value, struct err *err)
{
	if (!*text)
		return err_set(
			err, -EINVAL, "the path is empty; leave the setting out, or name a file");
	if (strlen(text) >= PATH_MAX)
		return err_set(err, -EINVAL, "the path is longer than %d bytes", PATH_MAX - 1);
	return parse_string(arena, setting, text, value, err);
}

void setting_print_string(FILE *out, const char *text)
{
	static const char escapes[] = "\nn\rr\tt\ff\\\\\"\"";

	fputc('"', out);
	for (; *text; text++) {
		const char *escape = NULL;

		for (const char *e = escapes; *e && !escape; e += 2)
			escape = *e == *text ? e + 1 : NULL;
		if (escape)
			fprintf(out, "\\%c", *escape);
		else if ((unsigned char)*text < ' ' || *text == 0x7f)
			fprintf(out, "\\x%02x", (unsigned char)*text);
		else
			fputc(*text, out);
	}
	fputc('"', out);
}

static void print_string(FILE *out, const struct setting *setting, const void *value)
{
	setting_print_string(out, *(char *const *)value);
}

static int compare_string(const void *a, const void *b)
{
	const char *left = *(char *const *)a, *right = *(char *const *)b;

	if (!left || !right)
		return !!left - !!right;
	return strcmp(left, right);
}

static bool unset_string(const struct setting *setting, const void *value)
{
	return !*(char *const *)value;
}

/* ---- addresses ---- */

static int parse_address(struct arena *arena, const struct setting *setting, const char *text,
	void *value, struct err *err)
{
	if (net_addr_parse(value, text))
		return err_set(err, -EINVAL,
			"\"%.64s\" is no address; write one such as \"192.0.2.1\" or "
			"\"2001:db8::1\"",
			text);
	return 0;
}

static void print_address(FILE *out, const struct setting *setting, const void *value)
{
	char buf[NET_ADDR_STRLEN];

	fprintf(out, "\"%s\"", net_addr_format(value, buf));
}

static bool unset_address(const struct setting *setting, const void *value)
{
	return !((const struct net_addr *)value)->family;
}

static int parse_prefix(struct arena *arena, const struct setting *setting, const char *text,
	void *value, struct err *err)
{
	if (!*text && setting->flags & SETTING_OR_NONE)
		*(struct net_prefix *)value = (struct net_prefix){0};
	else if (net_prefix_parse(value, text))
		return err_set(err, -EINVAL,
			"\"%.64s\" is no prefix; write one such as \"192.0.2.0/24\" or "
			"\"2001:db8::/64\"",
			text);
	return 0;
}

static void print_prefix(FILE *out, const struct setting *setting, const void *value)
{
	char buf[NET_PREFIX_STRLEN] = "";

	if (((const struct net_prefix *)value)->addr.family)
		net_prefix_format(value, buf);
	fprintf(out, "\"%s\"", buf);
}

/* Not by its bytes: behind the length is padding. */
static int compare_prefix(const void *a, const void *b)
{
	const struct net_prefix *left = a, *right = b;
	int order = memcmp(&left->addr, &right->addr, sizeof(left->addr));

	return order ? order : left->len - right->len;
}

static bool unset_prefix(const struct setting *setting, const void *value)
{
	return !((const struct net_prefix *)value)->addr.family &&
	       !(setting->flags & SETTING_OR_NONE);
}

/* RFC 1123, section 2.1, and "_", which real names have. A last label of digits alone is a mistyped
 * IPv4 address, no name. */
static bool is_host_name(const char *host)
{
	size_t label = 0;
	bool digits = true;

	if (strlen(host) > HOST_NAME_LEN_MAX)
		return false;
	for (; *host; host++) {
		if (*host == '.') {
			if (!label)
				return false;
			if (!host[1])
				break; /* a last dot ends a full name */
			label = 0;
			digits = true;
			continue;
		}
		if (!isalnum((unsigned char)*host) && *host != '_' && (*host != '-' || !label))
			return false;
		digits = digits && isdigit((unsigned char)*host);
		if (++label > HOST_LABEL_LEN_MAX)
			return false;
	}
	return label && !digits;
}

/* Between brackets an IPv6 literal, with its scope ("%eth0") where it has one. */
static bool is_host_literal(char *host, bool brackets)
{
	struct net_addr addr;

	if (brackets)
		host[strcspn(host, "%")] = '\0';
	return !net_addr_parse(&addr, host) && (addr.family == AF_INET6) == brackets;
}

static int parse_endpoint(struct arena *arena, const struct setting *setting, const char *text,
	void *value, struct err *err)
{
	char host[HOST_NAME_LEN_MAX + 2];
	bool brackets = *text == '[';
	uint16_t port;

	if (net_hostport_split(text, host, sizeof(host), &port) || !port ||
		(!is_host_literal(host, brackets) && (brackets || !is_host_name(host))))
		return err_set(err, -EINVAL,
			"\"%.64s\" is no endpoint; write HOST:PORT, such as "
			"\"gw.example.net:51820\", "
			"\"192.0.2.1:51820\" or \"[2001:db8::1]:51820\"",
			text);
	return parse_string(arena, setting, text, value, err);
}

/* ---- keys ---- */

static int parse_key(struct arena *arena, const struct setting *setting, const char *text,
	void *value, struct err *err)
{
	return setting_parse_key(value, text, err);
}

static void print_key(FILE *out, const struct setting *setting, const void *value)
{
	char buf[45];

	fprintf(out, "\"%s\"", setting_format_key(value, buf));
}

static bool unset_key(const struct setting *setting, const void *value)
{
	static const uint8_t zero[32];

	return !setting->def && !memcmp(value, zero, sizeof(zero));
}

/* ---- the table ---- */

static const struct setting_kind kinds[] = {
	[SETTING_BOOL] = {"true or false", "true", TOKEN_IS_BOOL, sizeof(bool), parse_bool,
		print_bool},
	[SETTING_INT] = {"a whole number", "1", TOKEN_IS_INT, sizeof(int64_t), parse_int, print_int,
		.unset = unset_number},
	[SETTING_STRING] = {"a string", "\"text\"", TOKEN_IS_STRING, sizeof(char *), parse_string,
		print_string, compare_string, unset_string},
	[SETTING_ENUM] = {"one of its words", "\"word\"", TOKEN_IS_STRING, sizeof(int), parse_enum,
		print_enum},
	[SETTING_DURATION] = {"a duration", "\"120s\"", TOKEN_IS_STRING, sizeof(uint64_t),
		parse_with_unit, print_with_unit, .unset = unset_number},
	[SETTING_SIZE] = {"a size", "\"64MiB\"", TOKEN_IS_STRING, sizeof(uint64_t), parse_with_unit,
		print_with_unit, .unset = unset_number},
	[SETTING_RATE] = {"a rate", "\"10Gbit/s\"", TOKEN_IS_STRING, sizeof(uint64_t),
		parse_with_unit, print_with_unit, .unset = unset_number},
	[SETTING_ADDRESS] = {"an address", "\"192.0.2.1\"", TOKEN_IS_STRING,
		sizeof(struct net_addr), parse_address, print_address, .unset = unset_address},
	[SETTING_PREFIX] = {"a prefix", "\"192.0.2.0/24\"", TOKEN_IS_STRING,
		sizeof(struct net_prefix), parse_prefix, print_prefix, compare_prefix,
		unset_prefix},
	[SETTING_ENDPOINT] = {"an endpoint", "\"gw.example.net:51820\"", TOKEN_IS_STRING,
		sizeof(char *), parse_endpoint, print_string, compare_string, unset_string},
	[SETTING_KEY] = {"a public key in base64",
		"\"hBl5YAdBpi1TCTNCiYVqx4y1aYMM8YNAGrtcy0cBEwQ=\"", TOKEN_IS_STRING, 32, parse_key,
		print_key, .unset = unset_key},
	[SETTING_SECRET_FILE] = {"the path of a file with a secret", "\"secret.key\"",
		TOKEN_IS_STRING, sizeof(char *), parse_path, print_string, compare_string,
		unset_string},
	[SETTING_PATH] = {"a path", "\"file\"", TOKEN_IS_STRING, sizeof(char *), parse_path,
		print_string, compare_string, unset_string},
	[SETTING_GROUP] = {"a group", "{ ... }", TOKEN_IS_GROUP},
};

const struct setting_kind *setting_kind(const struct setting *setting)
{
	return (unsigned)setting->type < sizeof(kinds) / sizeof(kinds[0]) ? &kinds[setting->type]
									  : NULL;
}

size_t setting_value_size(const struct setting *setting)
{
	return setting->type == SETTING_GROUP ? setting->size : setting_kind(setting)->size;
}

int setting_check(const struct setting *setting, const char *text, struct err *err)
{
	const struct setting_kind *kind = setting_kind(setting);
	struct arena arena = {0};
	union {
		max_align_t align;
		uint8_t bytes[64];
	} value;
	int rc;

	if (!kind || !kind->parse)
		return err_set(err, -EINVAL, "no text form");
	rc = kind->parse(&arena, setting, text, &value, err);
	arena_fini(&arena);
	return rc;
}
