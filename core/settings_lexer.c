/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tokens of a configuration. libconfig has a lexer too and is the one that counts; this one
 * sees the text first, because libconfig 1.5 takes some of it for what nobody meant: an integer
 * beyond 32 bits is cut silently, a comment that never ends is the end, an escape that it doesn't
 * know stays as it is. What passes here means the same to libconfig; it refuses more, never less.
 * Pure: runs on any thread.
 */
#include "settings_lexer.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct lexer lexer_of(const char *text, size_t size)
{
	static const char byte_order_mark[] = "\xef\xbb\xbf";

	if (size >= 3 && !memcmp(text, byte_order_mark, 3)) {
		text += 3;
		size -= 3;
	}
	return (struct lexer){.at = text, .end = text + size, .line_start = text, .line = 1};
}

static bool starts_with(const struct lexer *lexer, const char *what)
{
	size_t len = strlen(what);

	return (size_t)(lexer->end - lexer->at) >= len && !memcmp(lexer->at, what, len);
}

static void step(struct lexer *lexer)
{
	if (*lexer->at++ == '\n') {
		lexer->line++;
		lexer->line_start = lexer->at;
	}
}

static void skip_line(struct lexer *lexer)
{
	while (lexer->at < lexer->end && *lexer->at != '\n')
		lexer->at++;
}

static bool skip_comment(struct lexer *lexer)
{
	lexer->at += 2;
	while (!starts_with(lexer, "*/")) {
		if (lexer->at == lexer->end)
			return false;
		step(lexer);
	}
	lexer->at += 2;
	return true;
}

/* False with the lexer at the start of a comment that has no end. */
static bool skip_blank(struct lexer *lexer)
{
	while (lexer->at < lexer->end) {
		if (strchr(" \t\r\n\f", *lexer->at)) {
			step(lexer);
		} else if (*lexer->at == '#' || starts_with(lexer, "//")) {
			skip_line(lexer);
		} else if (starts_with(lexer, "/*")) {
			struct lexer before = *lexer;

			if (!skip_comment(lexer)) {
				*lexer = before;
				return false;
			}
		} else {
			break;
		}
	}
	return true;
}

static bool in_word(const struct lexer *lexer)
{
	char c = *lexer->at;

	if (c == '/') /* a path or prefix without quotes, but not a comment */
		return !starts_with(lexer, "//") && !starts_with(lexer, "/*");
	return isalnum((unsigned char)c) || (c && strchr("_*-+.%", c));
}

static enum token_kind take_word(struct lexer *lexer)
{
	const char *start = lexer->at;
	size_t len;

	while (lexer->at < lexer->end && in_word(lexer))
		lexer->at++;
	len = (size_t)(lexer->at - start);
	if (!isalpha((unsigned char)*start) && *start != '*')
		return TOKEN_NUMBER;
	if ((len == 4 && !strncasecmp(start, "true", 4)) ||
		(len == 5 && !strncasecmp(start, "false", 5)))
		return TOKEN_BOOL;
	return TOKEN_NAME;
}

static enum token_kind take_string(struct lexer *lexer)
{
	for (lexer->at++; lexer->at < lexer->end && *lexer->at != '\n'; lexer->at++) {
		if (*lexer->at == '"') {
			lexer->at++;
			return TOKEN_STRING;
		}
		if (*lexer->at == '\\' && lexer->end - lexer->at > 1 && lexer->at[1] != '\n')
			lexer->at++;
	}
	err_set(&lexer->err, -EINVAL,
		"the string that begins here has no closing quote on its line; a line break in a "
		"string "
		"is written \\n, a long one as several strings side by side");
	return TOKEN_WRONG;
}

static enum token_kind take_include(struct lexer *lexer)
{
	for (const char *c = lexer->line_start; c < lexer->at; c++) {
		if (*c != ' ' && *c != '\t') {
			err_set(&lexer->err, -EINVAL, "@include stands at the beginning of a line");
			return TOKEN_WRONG;
		}
	}
	lexer->at += strlen("@include");
	return TOKEN_INCLUDE;
}

static enum token_kind take_sign(struct lexer *lexer)
{
	static const struct {
		char sign;
		enum token_kind kind;
	} signs[] = {
		{'=', TOKEN_EQUALS},
		{':', TOKEN_EQUALS},
		{',', TOKEN_COMMA},
		{';', TOKEN_SEMICOLON},
		{'{', TOKEN_OPEN},
		{'[', TOKEN_OPEN},
		{'(', TOKEN_OPEN},
		{'}', TOKEN_CLOSE},
		{']', TOKEN_CLOSE},
		{')', TOKEN_CLOSE},
	};
	char c = *lexer->at++;

	for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
		if (c == signs[i].sign)
			return signs[i].kind;
	}
	if (isprint((unsigned char)c))
		err_set(&lexer->err, -EINVAL, "stray \"%c\"; text goes in quotes", c);
	else
		err_set(&lexer->err, -EINVAL, "stray byte 0x%02x; text goes in quotes",
			(unsigned char)c);
	return TOKEN_WRONG;
}

struct token lexer_next(struct lexer *lexer)
{
	struct token token = {.kind = TOKEN_END};

	if (!skip_blank(lexer)) {
		err_set(&lexer->err, -EINVAL,
			"the comment that begins here is not closed; end it with */");
		token.kind = TOKEN_WRONG;
	}
	token.start = lexer->at;
	token.line = lexer->line;
	if (lexer->at == lexer->end || token.kind == TOKEN_WRONG)
		return token;

	if (*lexer->at == '"')
		token.kind = take_string(lexer);
	else if (starts_with(lexer, "@include"))
		token.kind = take_include(lexer);
	else if (*lexer->at != '%' && *lexer->at != '/' && in_word(lexer))
		token.kind = take_word(lexer);
	else
		token.kind = take_sign(lexer);
	token.len = (size_t)(lexer->at - token.start);
	return token;
}

/* Digits of a base and an optional L or LL behind; `digits` and `suffix` are their lengths. */
static bool split_number(const char *text, const char *set, size_t *digits, size_t *suffix)
{
	*digits = strspn(text, set);
	*suffix = strspn(text + *digits, "L");
	return *digits > 0 && *suffix <= 2 && !text[*digits + *suffix];
}

int number_check(const struct token *token, struct err *err)
{
	char text[32];
	bool hex, minus = token->start[0] == '-';
	size_t digits, suffix, prefix;
	unsigned long long n;

	if (token->len >= sizeof(text))
		return err_set(err, -EINVAL, "\"%.31s...\" is no number; text goes in quotes",
			token->start);
	memcpy(text, token->start, token->len);
	text[token->len] = '\0';

	hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	prefix = hex ? 2 : (size_t)(minus || text[0] == '+');
	if (!split_number(
		    text + prefix, hex ? "0123456789abcdefABCDEF" : "0123456789", &digits, &suffix))
		return err_set(err, -EINVAL,
			"\"%s\" is no whole number; text, and a value with a unit, goes in quotes",
			text);

	errno = 0;
	n = strtoull(text + prefix, NULL, hex ? 16 : 10);
	if (errno || n > (unsigned long long)INT64_MAX + minus)
		return err_set(err, -EINVAL, "%s does not fit an integer of 64 bits", text);
	if (!suffix && n > (unsigned long long)INT32_MAX + minus)
		return err_set(err, -EINVAL,
			"%s does not fit 32 bits; a larger integer ends in L: %sL", text, text);
	return 0;
}

int string_check(const struct token *token, struct err *err)
{
	const char *end = token->start + token->len - 1;

	for (const char *at = token->start + 1; at < end; at++) {
		if (*at != '\\')
			continue;
		at++;
		if (strchr("nrtf\\\"", *at))
			continue;
		if ((*at != 'x' && *at != 'X') || !isxdigit((unsigned char)at[1]) ||
			!isxdigit((unsigned char)at[2]))
			return err_set(err, -EINVAL,
				"unknown escape \"\\%c\" in a string; a backslash is written \\\\",
				*at);
		if (at[1] == '0' && at[2] == '0')
			return err_set(err, -EINVAL, "a string cannot hold \\x00");
		at += 2;
	}
	return 0;
}
