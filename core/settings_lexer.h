/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stddef.h>

#include <tailplane/err.h>

enum token_kind {
	TOKEN_END,
	TOKEN_NAME,
	TOKEN_BOOL,
	TOKEN_NUMBER, /* whatever begins like one; number_check says if it is */
	TOKEN_STRING, /* quotes included */
	TOKEN_EQUALS,
	TOKEN_COMMA,
	TOKEN_SEMICOLON,
	TOKEN_OPEN, /* start[0] is { [ or ( */
	TOKEN_CLOSE,
	TOKEN_INCLUDE, /* a string follows; only at the beginning of a line */
	TOKEN_WRONG,   /* the reason is in the lexer's err */
};

struct token {
	enum token_kind kind;
	const char *start;
	size_t len;
	unsigned line;
};

struct lexer {
	const char *at, *end, *line_start;
	unsigned line;
	struct err err;
};

struct lexer lexer_of(const char *text, size_t size);
struct token lexer_next(struct lexer *lexer);
/* Integers that libconfig reads as the number that they say. 0 or -EINVAL with a reason. */
int number_check(const struct token *token, struct err *err);
/* The string's escapes; its content is bounded by the token. 0 or -EINVAL with a reason. */
int string_check(const struct token *token, struct err *err);
