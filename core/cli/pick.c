/* SPDX-License-Identifier: BSD-3-Clause */
/* Looks for the ends of values only; what is picked is read, and judged, by jansson. */
#include "pick.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "secret.h"
#include "text.h"

#define PATH_MAX_BYTES 64

struct pick {
	const char *at, *end;
	char *out; /* as long as the text: each byte stands for one that was read */
	size_t len;
	const struct op_column *columns;
};

static bool take(struct pick *pick, char c)
{
	if (pick->at == pick->end || *pick->at != c)
		return false;
	pick->at++;
	return true;
}

static void put(struct pick *pick, const char *text, size_t len)
{
	memcpy(pick->out + pick->len, text, len);
	pick->len += len;
}

static bool skip_string(struct pick *pick)
{
	for (const char *p = pick->at + 1; p < pick->end; p++) {
		if (*p == '"') {
			pick->at = p + 1;
			return true;
		}
		if (*p == '\\')
			p++;
	}
	return false;
}

static bool skip_value(struct pick *pick)
{
	unsigned depth = 0;

	while (pick->at < pick->end) {
		char c = *pick->at;

		if (depth == 0 && (c == ',' || c == '}' || c == ']'))
			return true;
		if (c == '"') {
			if (!skip_string(pick))
				return false;
			continue;
		}
		depth += c == '{' || c == '[';
		depth -= c == '}' || c == ']';
		pick->at++;
	}
	return false;
}

enum wanted { NOT, PART, WHOLE };

/* Below `path`, which is "" or "user.": the key "name" is wanted whole for the column "user.name",
 * and above it "user" in part. */
static enum wanted wanted(const struct pick *pick, const char *path, const char *key, size_t len)
{
	size_t before = strlen(path);
	enum wanted most = NOT;

	for (const struct op_column *c = pick->columns; c->key != NULL; c++) {
		const char *rest = c->key + before;

		if (strncmp(c->key, path, before) != 0 || strncmp(rest, key, len) != 0)
			continue;
		if (rest[len] == '\0')
			return WHOLE;
		if (rest[len] == '.')
			most = PART;
	}
	return most;
}

static bool pick_object(struct pick *pick, const char *path);

static bool pick_part(struct pick *pick, const char *path, const char *key, size_t len)
{
	char below[PATH_MAX_BYTES];

	if (strlen(path) + len + 2 > sizeof(below))
		return false;
	sprintf(below, "%s%.*s.", path, (int)len, key);
	return pick_object(pick, below);
}

static bool pick_member(struct pick *pick, const char *path, bool *any)
{
	const char *key = pick->at;

	if (pick->at == pick->end || *pick->at != '"' || !skip_string(pick))
		return false;
	size_t len = (size_t)(pick->at - key) - 2;

	/* a key that is written with escapes may be any */
	if (memchr(key, '\\', len + 1) != NULL || !take(pick, ':') || pick->at == pick->end)
		return false;
	enum wanted how = wanted(pick, path, key + 1, len);

	if (how == PART && *pick->at != '{')
		how = WHOLE;
	if (how == NOT)
		return skip_value(pick);
	if (*any)
		put(pick, ",", 1);
	*any = true;
	put(pick, key, (size_t)(pick->at - key));
	if (how == PART)
		return pick_part(pick, path, key + 1, len);
	const char *value = pick->at;

	if (!skip_value(pick))
		return false;
	put(pick, value, (size_t)(pick->at - value));
	return true;
}

static bool pick_object(struct pick *pick, const char *path)
{
	bool any = false;

	if (!take(pick, '{'))
		return false;
	put(pick, "{", 1);
	if (!take(pick, '}')) {
		do {
			if (!pick_member(pick, path, &any))
				return false;
		} while (take(pick, ','));
		if (!take(pick, '}'))
			return false;
	}
	put(pick, "}", 1);
	return true;
}

static bool pick_all(struct pick *pick)
{
	if (!take(pick, '['))
		return false;
	put(pick, "[", 1);
	do {
		if (pick->len > 1)
			put(pick, ",", 1);
		if (!pick_object(pick, ""))
			return false;
	} while (take(pick, ','));
	if (!take(pick, ']') || pick->at != pick->end)
		return false;
	put(pick, "]", 1);
	return true;
}

json_t *pick_rows(const char *text, size_t len, const struct op_column *columns)
{
	struct pick pick = {text, text + len, text_alloc(len, 1), 0, columns};
	json_t *rows = pick_all(&pick) ? json_loadb(pick.out, pick.len, 0, NULL) : NULL;

	secret_zero(pick.out, pick.len);
	free(pick.out);
	return rows;
}
