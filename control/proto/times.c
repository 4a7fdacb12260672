/* SPDX-License-Identifier: BSD-3-Clause */
/* Protocol library. */
#include "times.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define NS 1000000000ll

const char *time_text_format(char buf[static TIME_TEXT_SIZE], int64_t ns)
{
	time_t seconds = (time_t)(ns / NS);
	int64_t rest = ns % NS;
	struct tm tm;
	size_t len;

	if (ns == TIME_UNSET) {
		memcpy(buf, "0001-01-01T00:00:00Z", 21);
		return buf;
	}
	if (rest < 0) {
		rest += NS;
		seconds--;
	}
	gmtime_r(&seconds, &tm);
	len = strftime(buf, TIME_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	if (rest) {
		len += (size_t)snprintf(
			buf + len, TIME_TEXT_SIZE - len, ".%09lld", (long long)rest);
		while (buf[len - 1] == '0')
			len--;
	}
	memcpy(buf + len, "Z", 2);
	return buf;
}

/* Takes exactly `n` digits. */
static bool number(const char **at, const char *end, unsigned n, int *value)
{
	*value = 0;
	for (; n; n--, (*at)++) {
		if (*at == end || **at < '0' || **at > '9')
			return false;
		*value = *value * 10 + (**at - '0');
	}
	return true;
}

static bool mark(const char **at, const char *end, const char *any)
{
	if (*at == end || !strchr(any, **at))
		return false;
	(*at)++;
	return true;
}

static bool fraction(const char **at, const char *end, int64_t *ns)
{
	int64_t unit = NS / 10;

	*ns = 0;
	if (*at == end || **at != '.')
		return true;
	(*at)++;
	if (*at == end || **at < '0' || **at > '9')
		return false;
	for (; *at != end && **at >= '0' && **at <= '9'; (*at)++, unit /= 10)
		*ns += unit * (**at - '0');
	return true;
}

static bool zone(const char **at, const char *end, int *seconds)
{
	int hours, minutes;
	bool west;

	*seconds = 0;
	if (mark(at, end, "Zz"))
		return true;
	west = *at != end && **at == '-';
	if (!mark(at, end, "+-") || !number(at, end, 2, &hours) || !mark(at, end, ":") ||
		!number(at, end, 2, &minutes) || hours > 23 || minutes > 59)
		return false;
	*seconds = (hours * 60 + minutes) * (west ? -60 : 60);
	return true;
}

static bool fields(const char **at, const char *end, struct tm *tm)
{
	return number(at, end, 4, &tm->tm_year) && mark(at, end, "-") &&
	       number(at, end, 2, &tm->tm_mon) && mark(at, end, "-") &&
	       number(at, end, 2, &tm->tm_mday) && mark(at, end, "Tt ") &&
	       number(at, end, 2, &tm->tm_hour) && mark(at, end, ":") &&
	       number(at, end, 2, &tm->tm_min) && mark(at, end, ":") &&
	       number(at, end, 2, &tm->tm_sec) && tm->tm_mon >= 1 && tm->tm_mon <= 12 &&
	       tm->tm_mday >= 1 && tm->tm_mday <= 31 && tm->tm_hour < 24 && tm->tm_min < 60 &&
	       tm->tm_sec <= 60;
}

bool time_text_parse(int64_t *ns, const char *text, size_t len)
{
	const char *at = text, *end = text + len;
	struct tm tm = {0};
	int64_t rest, seconds;
	int offset;

	if (memchr(text, 0, len) || !fields(&at, end, &tm) || !fraction(&at, end, &rest) ||
		!zone(&at, end, &offset) || at != end)
		return false;
	if (tm.tm_year <= 1) {
		*ns = TIME_UNSET;
		return true;
	}
	tm.tm_year -= 1900;
	tm.tm_mon--;
	seconds = (int64_t)timegm(&tm) - offset;
	if (seconds >= INT64_MAX / NS)
		*ns = INT64_MAX / NS * NS;
	else
		*ns = seconds < 0 || (!seconds && !rest) ? 1 : seconds * NS + rest;
	return true;
}
