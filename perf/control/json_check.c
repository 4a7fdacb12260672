/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether a text is one JSON value: what a decoder would go through, without making anything of
 * it. Runs on: the generator's one thread. */
#include <stdbool.h>
#include <string.h>

#include "load.h"

#define DEPTH_MAX 64

struct reader {
	const char *at, *end;
	unsigned depth;
};

static bool value(struct reader *r);

static void blanks(struct reader *r)
{
	while (r->at < r->end &&
		(*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
		r->at++;
}

static bool take(struct reader *r, char c)
{
	blanks(r);
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

static bool string(struct reader *r)
{
	if (!take(r, '"'))
		return false;
	for (; r->at < r->end; r->at++) {
		if (*r->at == '"') {
			r->at++;
			return true;
		}
		if ((unsigned char)*r->at < ' ')
			return false;
		r->at += *r->at == '\\';
	}
	return false;
}

static bool literal(struct reader *r, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(r->end - r->at) < len || memcmp(r->at, word, len) != 0)
		return false;
	r->at += len;
	return true;
}

static bool number(struct reader *r)
{
	const char *begin = r->at;

	while (r->at < r->end && ((*r->at >= '0' && *r->at <= '9') || strchr("+-.eE", *r->at)))
		r->at++;
	return r->at > begin;
}

/* `key`: of an object, whose members have names. */
static bool members(struct reader *r, char close, bool key)
{
	if (take(r, close))
		return true;
	do {
		if (key && (!string(r) || !take(r, ':')))
			return false;
		if (!value(r))
			return false;
	} while (take(r, ','));
	return take(r, close);
}

static bool value(struct reader *r)
{
	bool fine;

	blanks(r);
	if (r->at == r->end || r->depth == DEPTH_MAX)
		return false;
	r->depth++;
	switch (*r->at) {
	case '{':
		r->at++;
		fine = members(r, '}', true);
		break;
	case '[':
		r->at++;
		fine = members(r, ']', false);
		break;
	case '"':
		fine = string(r);
		break;
	case 't':
		fine = literal(r, "true");
		break;
	case 'f':
		fine = literal(r, "false");
		break;
	case 'n':
		fine = literal(r, "null");
		break;
	default:
		fine = number(r);
	}
	r->depth--;
	return fine;
}

bool json_is_object_text(const char *text, size_t len)
{
	struct reader r = {text, text + len, 0};

	blanks(&r);
	return r.at < r.end && *r.at == '{' && value(&r) && (blanks(&r), r.at == r.end);
}
