/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What stands before libconfig: reads the text with its includes, checks its form, and says what is
 * wrong with it better than "syntax error". libconfig 1.5 alone would stop at the first complaint,
 * not say which setting is there twice, give the last element of a list the line of the bracket
 * behind it, cut large integers, and read an included /dev/zero until memory ends.
 *
 * Includes are put in place here; libconfig sees one text. `spans` lead from a line of it back to
 * file and line. `value_lines` has the line of each setting and list element in the order of the
 * text, which is the order in which a walk over libconfig's tree meets them.
 *
 * A wrong structure ends the scan (what follows would be noise); wrong numbers, escapes and doubled
 * names do not. One thread at a time: the caller's.
 */
#include "settings_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "settings_lexer.h"

/* What may come next. */
enum state {
	STATE_KEY,     /* in a group, behind a separator or at its begin */
	STATE_EQUALS,  /* behind a setting's name */
	STATE_VALUE,   /* behind "=" */
	STATE_DONE,    /* behind a setting's value: a separator is optional */
	STATE_FIRST,   /* behind ( or [ */
	STATE_ELEMENT, /* in a list, behind a comma */
	STATE_NEXT,    /* in a list, behind an element */
};

struct key {
	const char *name;
	size_t len;
	struct setting_place place;
};

struct scope {
	char bracket; /* that opened it; 0 for the whole text */
	struct setting_place opened;
	struct key keys[GROUP_KEYS_MAX];
	size_t n_keys;
};

struct scan {
	struct source *source;
	struct setting_errors *errs;
	struct arena arena; /* the bytes of the files, until the end of the scan */
	FILE *out;
	size_t budget;                            /* bytes that may still be read */
	const char *including[INCLUDE_DEPTH_MAX]; /* files whose include is being scanned */
	unsigned include_depth;
	bool may_include;

	/* the file being scanned */
	const char *file;
	unsigned span_first, span_line;

	enum state state;
	bool after_string; /* the value before is a string: another one continues it */
	struct scope scopes[NESTING_MAX];
	unsigned depth; /* of the current scope; 0 is the whole text */
};

static struct setting_place here(const struct scan *scan, const struct token *token)
{
	return (struct setting_place){.file = scan->file, .line = token->line};
}

/* False, for `return wrong(...)` where the scan cannot go on. */
static bool wrong(const struct scan *scan, const struct token *token, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static bool wrong(const struct scan *scan, const struct token *token, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	setting_complain_v(scan->errs, here(scan, token), fmt, args);
	va_end(args);
	return false;
}

static void add_span(struct scan *scan, unsigned first, unsigned line)
{
	struct source *source = scan->source;

	source->spans = array_grow(source->spans, source->n_spans, sizeof(*source->spans));
	source->spans[source->n_spans++] =
		(struct source_span){.first = first, .file = scan->file, .line = line};
	scan->span_first = first;
	scan->span_line = line;
}

static unsigned expanded_line(const struct scan *scan, const struct token *token)
{
	return scan->span_first + token->line - scan->span_line;
}

static void add_value(struct scan *scan, const struct token *token)
{
	struct source *source = scan->source;

	source->value_lines =
		array_grow(source->value_lines, source->n_values, sizeof(*source->value_lines));
	source->value_lines[source->n_values++] = expanded_line(scan, token);
}

static bool add_key(struct scan *scan, const struct token *token)
{
	struct scope *scope = &scan->scopes[scan->depth];

	if (memchr(token->start, '.', token->len))
		return wrong(scan, token,
			"\"%.*s\" cannot name a setting, which has letters, digits, \"_\" and "
			"\"-\"; what is "
			"called by a domain is the element of a list, with a setting for its name",
			(int)token->len, token->start);
	for (size_t i = 0; i < scope->n_keys; i++) {
		const struct key *key = &scope->keys[i];

		if (key->len == token->len && !memcmp(key->name, token->start, key->len)) {
			wrong(scan, token,
				"\"%.*s\" is set again, first at %s:%u; keep one of them",
				(int)token->len, token->start, key->place.file, key->place.line);
			return true;
		}
	}
	if (scope->n_keys == GROUP_KEYS_MAX)
		return wrong(scan, token, "more than %d settings in one group", GROUP_KEYS_MAX);
	scope->keys[scope->n_keys++] = (struct key){token->start, token->len, here(scan, token)};
	return true;
}

static bool in_group(const struct scan *scan)
{
	char bracket = scan->scopes[scan->depth].bracket;

	return !bracket || bracket == '{';
}

static enum state state_behind_value(const struct scan *scan)
{
	return in_group(scan) ? STATE_DONE : STATE_NEXT;
}

static bool open_scope(struct scan *scan, const struct token *token)
{
	struct scope *scope;
	char bracket = token->start[0];

	if (scan->scopes[scan->depth].bracket == '[')
		return wrong(scan, token,
			"\"%c\" within [ ], which holds plain values; a list of groups is written "
			"( { ... }, "
			"{ ... } )",
			bracket);
	if (scan->depth + 1 == NESTING_MAX)
		return wrong(scan, token, "groups and lists nest deeper than %d", NESTING_MAX - 1);

	scope = &scan->scopes[++scan->depth];
	scope->bracket = bracket;
	scope->opened = here(scan, token);
	scope->n_keys = 0;
	scan->state = bracket == '{' ? STATE_KEY : STATE_FIRST;
	return true;
}

static char closing(char bracket)
{
	return bracket == '{' ? '}' : bracket == '[' ? ']' : ')';
}

static bool close_scope(struct scan *scan, const struct token *token)
{
	const struct scope *scope = &scan->scopes[scan->depth];
	char bracket = token->start[0];

	if (!scope->bracket)
		return wrong(scan, token, "\"%c\" closes nothing", bracket);
	if (bracket != closing(scope->bracket))
		return wrong(scan, token,
			"\"%c\" where the \"%c\" of %s:%u is still open; close it with \"%c\"",
			bracket, scope->bracket, scope->opened.file, scope->opened.line,
			closing(scope->bracket));
	scan->depth--;
	scan->state = state_behind_value(scan);
	scan->after_string = false;
	return true;
}

static bool take_value(struct scan *scan, const struct token *token)
{
	struct err err = {0};

	if (!in_group(scan))
		add_value(scan, token);
	if (token->kind == TOKEN_OPEN)
		return open_scope(scan, token);
	if (token->kind == TOKEN_NUMBER && number_check(token, &err))
		wrong(scan, token, "%s", err.msg);
	if (token->kind == TOKEN_STRING && string_check(token, &err))
		wrong(scan, token, "%s", err.msg);
	scan->state = state_behind_value(scan);
	scan->after_string = token->kind == TOKEN_STRING;
	return true;
}

static bool is_value(enum token_kind kind)
{
	return kind == TOKEN_BOOL || kind == TOKEN_NUMBER || kind == TOKEN_STRING ||
	       kind == TOKEN_OPEN;
}

static bool unexpected(struct scan *scan, const struct token *token)
{
	static const char *const expected[] = {
		[STATE_KEY] = "the name of a setting is expected; write NAME = VALUE;",
		[STATE_EQUALS] = "the name before it lacks its \"=\"; write NAME = VALUE;",
		[STATE_VALUE] = "the \"=\" before it lacks its value",
		[STATE_DONE] = "the name of the next setting is expected; write NAME = VALUE;",
		[STATE_FIRST] = "the first element of a list is expected",
		[STATE_ELEMENT] =
			"the comma before it lacks its element; none follows the last one",
		[STATE_NEXT] = "the elements of a list are parted by commas",
	};
	int len = token->len > 64 ? 64 : (int)token->len;

	if (token->kind == TOKEN_NAME && scan->state != STATE_EQUALS && scan->state != STATE_NEXT)
		return wrong(scan, token,
			"%.*s is neither true nor false; text goes in quotes: \"%.*s\"", len,
			token->start, len, token->start);
	return wrong(scan, token, "%.*s: %s", len, token->start, expected[scan->state]);
}

static bool take_in_group(struct scan *scan, const struct token *token)
{
	switch (token->kind) {
	case TOKEN_NAME:
		add_value(scan, token);
		scan->state = STATE_EQUALS;
		return add_key(scan, token);
	case TOKEN_CLOSE:
		return close_scope(scan, token);
	case TOKEN_SEMICOLON:
	case TOKEN_COMMA:
		if (scan->state == STATE_KEY)
			return wrong(scan, token, "stray \"%c\"", token->start[0]);
		scan->state = STATE_KEY;
		return true;
	case TOKEN_STRING:
		if (scan->state == STATE_DONE && scan->after_string)
			return take_value(scan, token);
		return unexpected(scan, token);
	default:
		return unexpected(scan, token);
	}
}

/* One token on; false when the text cannot be understood from here on. */
static bool take(struct scan *scan, const struct token *token)
{
	switch (scan->state) {
	case STATE_KEY:
	case STATE_DONE:
		return take_in_group(scan, token);
	case STATE_EQUALS:
		if (token->kind != TOKEN_EQUALS)
			return unexpected(scan, token);
		scan->state = STATE_VALUE;
		return true;
	case STATE_FIRST:
		if (token->kind == TOKEN_CLOSE)
			return close_scope(scan, token);
		/* fallthrough */
	case STATE_VALUE:
	case STATE_ELEMENT:
		return is_value(token->kind) ? take_value(scan, token) : unexpected(scan, token);
	case STATE_NEXT:
		if (token->kind == TOKEN_CLOSE)
			return close_scope(scan, token);
		if (token->kind != TOKEN_COMMA)
			return unexpected(scan, token);
		scan->state = STATE_ELEMENT;
		return true;
	}
	return false;
}

static bool at_end(struct scan *scan, const struct token *token)
{
	const struct scope *scope = &scan->scopes[scan->depth];

	if (scan->depth)
		return wrong(scan, token, "the text ends, and the \"%c\" of %s:%u is still open",
			scope->bracket, scope->opened.file, scope->opened.line);
	if (scan->state == STATE_EQUALS || scan->state == STATE_VALUE)
		return wrong(scan, token, "the text ends within a setting; write NAME = VALUE;");
	return true;
}

static bool scan_path(struct scan *scan, const char *path, struct setting_place from);

/* `path` as written, relative to the folder of the file that includes it. */
static char *include_path(struct scan *scan, const struct token *string)
{
	const char *slash = strrchr(scan->file, '/');
	size_t dir = slash && string->start[1] != '/' ? (size_t)(slash - scan->file) + 1 : 0;
	size_t len = string->len - 2;
	char *path = arena_alloc(scan->errs->arena, dir + len + 1);

	memcpy(path, scan->file, dir);
	memcpy(path + dir, string->start + 1, len);
	return path;
}

static bool is_being_included(const struct scan *scan, const char *path)
{
	for (unsigned i = 0; i < scan->include_depth; i++) {
		if (!strcmp(scan->including[i], path))
			return true;
	}
	return false;
}

static bool include(struct scan *scan, const struct token *directive, struct lexer *lexer)
{
	struct token string = lexer_next(lexer);
	const char *file = scan->file, *path;
	bool ok;

	if (string.kind != TOKEN_STRING || string.line != directive->line || string.len < 3 ||
		memchr(string.start, '\\', string.len))
		return wrong(scan, directive, "an include is written @include \"FILE\"");
	if (!scan->may_include)
		return wrong(scan, directive, "this text cannot include files");
	if (scan->include_depth == INCLUDE_DEPTH_MAX)
		return wrong(scan, directive, "includes nest deeper than %d", INCLUDE_DEPTH_MAX);

	scan->including[scan->include_depth++] = file;
	path = include_path(scan, &string);
	ok = is_being_included(scan, path)
		     ? wrong(scan, directive, "%s would include itself without end", path)
		     : scan_path(scan, path, here(scan, directive));
	scan->include_depth--;
	scan->file = file;
	return ok;
}

/* The line of `out` where the next byte goes, given that it begins a line. */
static unsigned next_line(const struct scan *scan, const struct lexer *lexer)
{
	return scan->span_first + lexer->line - scan->span_line + 1;
}

static bool scan_tokens(struct scan *scan, struct lexer *lexer)
{
	const char *copied = lexer->at;

	for (;;) {
		struct token token = lexer_next(lexer);

		if (token.kind == TOKEN_WRONG)
			return wrong(scan, &token, "%s", lexer->err.msg);
		if (token.kind == TOKEN_END) {
			fwrite(copied, 1, (size_t)(lexer->end - copied), scan->out);
			fputc('\n', scan->out);
			return scan->include_depth || at_end(scan, &token);
		}
		if (token.kind != TOKEN_INCLUDE) {
			if (!take(scan, &token))
				return false;
			continue;
		}

		fwrite(copied, 1, (size_t)(token.start - copied), scan->out);
		fputc('\n', scan->out);
		scan->span_first = next_line(scan, lexer);
		if (!include(scan, &token, lexer))
			return false;
		add_span(scan, scan->span_first, lexer->line);
		copied = lexer->at;
	}
}

static bool scan_text(struct scan *scan, const char *name, const char *text, size_t size)
{
	struct lexer lexer = lexer_of(text, size);
	const char *nul = memchr(text, '\0', size);
	struct token place = {.line = 1};

	scan->file = name;
	for (const char *c = text; nul && c < nul; c++)
		place.line += *c == '\n';
	if (nul)
		return wrong(scan, &place, "a byte 0 in the text; a configuration is plain text");

	add_span(scan, scan->span_first, 1);
	if (!scan_tokens(scan, &lexer))
		return false;
	scan->span_first = next_line(scan, &lexer);
	return true;
}

static bool unreadable(
	struct scan *scan, struct setting_place from, const char *path, const char *why)
{
	if (from.line)
		setting_complain(scan->errs, from, "cannot include %s: %s", path, why);
	else
		setting_complain(scan->errs, from, "cannot be read: %s", why);
	return false;
}

/* The whole file, or NULL with errno; E2BIG when the budget is spent. */
static char *read_file(struct scan *scan, const char *path, size_t *size)
{
	/* not to hang in the open of a FIFO; regular files do not care */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	char *bytes = NULL;
	ssize_t n;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st))
		goto out;
	errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
	if (!S_ISREG(st.st_mode))
		goto out;
	errno = E2BIG;
	if ((size_t)st.st_size > scan->budget)
		goto out;

	bytes = arena_alloc(&scan->arena, (size_t)st.st_size + 1);
	*size = 0;
	while (*size < (size_t)st.st_size) {
		n = read(fd, bytes + *size, (size_t)st.st_size - *size);
		if (n < 0)
			bytes = NULL;
		if (n <= 0)
			break;
		*size += (size_t)n;
	}
	scan->budget -= *size;
out:
	n = errno;
	close(fd);
	errno = (int)n;
	return bytes;
}

static bool scan_path(struct scan *scan, const char *path, struct setting_place from)
{
	size_t size;
	char *bytes = read_file(scan, path, &size);

	if (bytes)
		return scan_text(scan, path, bytes, size);
	if (errno == E2BIG)
		return unreadable(scan, from, path, "more than 4 MiB of configuration");
	if (errno == EINVAL)
		return unreadable(scan, from, path, "not a regular file");
	return unreadable(scan, from, path, strerror(errno));
}

bool source_read(struct source *source, const char *path, const char *text, size_t size,
	struct setting_errors *errs)
{
	struct scan *scan = calloc(1, sizeof(*scan));
	size_t out_size, before = errs->count;

	if (!scan)
		abort();
	scan->out = open_memstream(&source->text, &out_size);
	if (!scan->out)
		abort();
	scan->source = source;
	scan->errs = errs;
	scan->budget = CONFIG_BYTES_MAX;
	scan->may_include = !text;
	scan->span_first = 1;

	if (!text)
		scan_path(scan, path, errs->whole);
	else if (size > scan->budget)
		unreadable(scan, errs->whole, path, "more than 4 MiB of configuration");
	else
		scan_text(scan, path, text, size);

	if (fclose(scan->out))
		abort();
	arena_fini(&scan->arena);
	free(scan);
	return errs->count == before;
}

struct setting_place source_place(const struct source *source, unsigned line)
{
	size_t low = 0, high = source->n_spans;
	const struct source_span *span;

	/* the last span that begins at or before the line */
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (source->spans[middle].first <= line)
			low = middle;
		else
			high = middle;
	}
	span = &source->spans[low];
	return (struct setting_place){.file = span->file, .line = span->line + line - span->first};
}

void source_fini(struct source *source)
{
	free(source->text);
	free(source->spans);
	free(source->value_lines);
}
