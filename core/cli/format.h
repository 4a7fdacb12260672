/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include <tailplane/op.h>

/* Where a result is shown. */
struct screen {
	bool tty, colour;
	bool utf8;      /* thin spaces and … may be used */
	unsigned width; /* columns; 0: as wide as it takes */
	int64_t now_s;  /* unix time, for "ago" */
};

enum tone { TONE_PLAIN, TONE_TITLE, TONE_GOOD, TONE_WARN, TONE_BAD };

/* A value as people read it: units by `format`, yes/no, "-" for nothing, lists joined with ", ".
 * Heap; without control characters, except that text keeps its line ends when `lines`. */
char *format_value(
	const json_t *value, enum op_format format, const struct screen *screen, bool lines);
/* Of a state word: is it well? */
enum tone format_tone(const json_t *value, enum op_format format);
/* Should the values stand at the right of their column? */
bool format_right(enum op_format format);

/* Escape sequences around a tone's text; "" without colour. */
const char *tone_begin(enum tone tone, const struct screen *screen);
const char *tone_end(enum tone tone, const struct screen *screen);
