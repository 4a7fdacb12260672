/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Complaints about a configuration, kept in the order of the text, and the marks that lead from the
 * address of a field to the place in the text that set it. One thread at a time: the caller's.
 */
#include "settings_private.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <tailplane/utf8.h>

struct setting_mark {
	uintptr_t at;
	size_t size;
	struct setting_place place;
};

/* A name or value from the text may hold anything; a complaint is one line of UTF-8 on a terminal.
 */
static void make_printable(char *text)
{
	bool ascii_only = !utf8_valid(text);

	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < ' ' || c == 0x7f || (ascii_only && c > 0x7f))
			*text = '?';
	}
}

static bool stands_behind(struct setting_place a, struct setting_place b)
{
	return a.line > b.line && !strcmp(a.file, b.file);
}

void setting_complain_v(
	struct setting_errors *errs, struct setting_place place, const char *fmt, va_list args)
{
	struct setting_complaint complaint = {.place = place};
	size_t i = errs->shown;

	errs->count++;
	if (i == SETTING_ERRORS_MAX)
		return;

	complaint.text = arena_vprintf(errs->arena, fmt, args);
	make_printable(complaint.text);
	errs->complaints = array_grow(errs->complaints, i, sizeof(*errs->complaints));
	for (; i > 0 && stands_behind(errs->complaints[i - 1].place, place); i--)
		errs->complaints[i] = errs->complaints[i - 1];
	errs->complaints[i] = complaint;
	errs->shown++;
}

void setting_complain(struct setting_errors *errs, struct setting_place place, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	setting_complain_v(errs, place, fmt, args);
	va_end(args);
}

void setting_mark(
	struct setting_errors *errs, const void *at, size_t size, struct setting_place place)
{
	errs->marks = array_grow(errs->marks, errs->n_marks, sizeof(*errs->marks));
	errs->marks[errs->n_marks++] =
		(struct setting_mark){.at = (uintptr_t)at, .size = size, .place = place};
}

/*
 * The smallest marked range that holds the address: a field that was set, else the group around it.
 * Of two as small the later one, a field and not the group that consists of it.
 */
struct setting_place setting_find(const struct setting_errors *errs, const void *field)
{
	const struct setting_mark *best = NULL;
	uintptr_t at = (uintptr_t)field;

	for (size_t i = 0; i < errs->n_marks; i++) {
		const struct setting_mark *mark = &errs->marks[i];

		if (at - mark->at < mark->size && (!best || mark->size <= best->size))
			best = mark;
	}
	return best ? best->place : errs->whole;
}

void setting_error(struct setting_errors *errs, const void *field, const char *fmt, ...)
{
	struct setting_place place = errs->whole;
	va_list args;

	if (errs->shown < SETTING_ERRORS_MAX)
		place = setting_find(errs, field);
	va_start(args, fmt);
	setting_complain_v(errs, place, fmt, args);
	va_end(args);
}

static const char *join(struct arena *arena, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static const char *join(struct arena *arena, const char *fmt, ...)
{
	va_list args;
	char *text;

	va_start(args, fmt);
	text = arena_vprintf(arena, fmt, args);
	va_end(args);
	return text;
}

const char *setting_errors_text(struct setting_errors *errs, size_t i)
{
	const struct setting_complaint *complaint = &errs->complaints[i];

	if (i == errs->shown && errs->count > errs->shown)
		return join(errs->arena, "%s: %zu more complaints", errs->whole.file,
			errs->count - errs->shown);
	if (i >= errs->shown)
		return NULL;
	if (!complaint->place.line)
		return join(errs->arena, "%s: %s", complaint->place.file, complaint->text);
	return join(errs->arena, "%s:%u: %s", complaint->place.file, complaint->place.line,
		complaint->text);
}

void setting_errors_fini(struct setting_errors *errs)
{
	free(errs->complaints);
	free(errs->marks);
}
