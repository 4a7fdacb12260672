/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Between the settings*.c files and manual.c only; others include settings_parse.h. */
#include <stdbool.h>
#include <stdio.h>

#include <tailplane/settings.h>

#include "arena.h"

#define CONFIG_BYTES_MAX (4 << 20) /* of the text with all that it includes */
#define NESTING_MAX 16             /* groups and lists within each other */
#define GROUP_KEYS_MAX 256         /* settings of one group: libconfig compares each with each */
#define INCLUDE_DEPTH_MAX 8
#define LIST_ELEMENTS_MAX 65536
#define SETTING_ERRORS_MAX 50 /* shown; the others are counted */

/* ---- complaints (settings_errors.c) ---- */

/* `file` lives as long as the arena of the complaints; line 0: the file as a whole. */
struct setting_place {
	const char *file;
	unsigned line;
};

struct setting_complaint {
	struct setting_place place;
	char *text;
};

struct setting_mark;

struct setting_errors {
	struct arena *arena; /* of the texts */
	struct setting_complaint *complaints;
	size_t shown, count;
	struct setting_mark *marks; /* where each field of the structs was set */
	size_t n_marks;
	struct setting_place whole; /* for what has no better place */
};

void setting_complain(struct setting_errors *errs, struct setting_place place, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void setting_complain_v(struct setting_errors *errs, struct setting_place place, const char *fmt,
	va_list args) __attribute__((format(printf, 3, 0)));
/* Remembers that [at, at + size) was set by `place`: setting_error finds it by the address. */
void setting_mark(
	struct setting_errors *errs, const void *at, size_t size, struct setting_place place);
struct setting_place setting_find(const struct setting_errors *errs, const void *field);
/* "file:line: ..." of complaint `i`, behind the last shown one how many more there are, then NULL.
 */
const char *setting_errors_text(struct setting_errors *errs, size_t i);
void setting_errors_fini(struct setting_errors *errs);

/* ---- the text before libconfig sees it (settings_scan.c, settings_lexer.c) ---- */

/* From line `first` of the expanded text on, lines come from `file`, beginning with `line`. */
struct source_span {
	unsigned first;
	const char *file;
	unsigned line;
};

struct source {
	char *text; /* with all includes in place; NUL-terminated, heap */
	struct source_span *spans;
	size_t n_spans;
	unsigned *value_lines; /* line of each setting and element, in the order of the text */
	size_t n_values;
};

/*
 * Reads `path` (or takes `text` under the name `path`, which may not include) with its includes and
 * checks its form; complaints go to `errs`. False when libconfig should not see it.
 */
bool source_read(struct source *source, const char *path, const char *text, size_t size,
	struct setting_errors *errs);
struct setting_place source_place(const struct source *source, unsigned line);
void source_fini(struct source *source);

/* ---- types (settings_types.c) ---- */

enum setting_token { TOKEN_IS_NONE, TOKEN_IS_BOOL, TOKEN_IS_INT, TOKEN_IS_STRING, TOKEN_IS_GROUP };

struct setting_kind {
	const char *form;         /* "takes FORM": for complaints and the manual */
	const char *example;      /* in the configuration's syntax */
	enum setting_token token; /* what stands in the text */
	size_t size;              /* of the value in the struct */
	/* From its text (a string's content, a number's digits) to the checked value. */
	int (*parse)(struct arena *arena, const struct setting *setting, const char *text,
		void *value, struct err *err);
	/* In the configuration's syntax, quotes included. NULL for groups. */
	void (*print)(FILE *out, const struct setting *setting, const void *value);
	/* As for qsort; any total order. NULL: by the bytes. */
	int (*compare)(const void *a, const void *b);
	/* Whether no text gives this value: the setting was left out, without a default. NULL:
	 * never. */
	bool (*unset)(const struct setting *setting, const void *value);
};

/* NULL for a type that this core doesn't know (an error in a plugin's table). */
const struct setting_kind *setting_kind(const struct setting *setting);
/* The size of one value, an element's in a list. */
size_t setting_value_size(const struct setting *setting);
/* What it takes, in words: "a duration", "one of "host", "poll"". */
const char *setting_form(const struct setting *setting, char buf[static 256]);
/* Bounds in words, "" when there are none: "576 to 65535", "1s or more". */
const char *setting_bounds(const struct setting *setting, char buf[static 80]);
/* Quoted and escaped as libconfig reads it. */
void setting_print_string(FILE *out, const char *text);

/* ---- tables (settings_bind.c) ---- */

struct config_setting_t;

struct binder {
	struct setting_errors *errs;
	struct arena *arena;
	const struct source *source;
};

/* Whether the table of a plugin can be worked with at all; the others rely on it. */
bool bind_check_table(
	const struct binder *binder, const char *name, const struct setting *table, size_t size);
/* `node` NULL: the group is absent, all settings take their defaults; `place` is for what it lacks.
 */
void bind_group(const struct binder *binder, const struct config_setting_t *node,
	struct setting_place place, const char *name, const struct setting *table, void *base);
void bind_member(const struct binder *binder, const struct config_setting_t *node,
	const struct setting *setting, void *base);

/* ---- printing (settings_print.c) ---- */

void settings_print(FILE *out, const struct setting *table, const void *base, unsigned depth);
void settings_print_member(
	FILE *out, const struct setting *setting, const void *base, unsigned depth);
