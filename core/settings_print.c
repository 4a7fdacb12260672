/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Settings back as text that reads to the same settings. It depends on the values alone, so that
 * printing what was printed changes no byte: a setting that no text could give (left out, and zero
 * is out of its bounds) is a comment. Pure: runs on any thread.
 */
#include "settings_private.h"

#define ELEMENTS_PER_LINE 4

static void indent(FILE *out, unsigned depth)
{
	while (depth--)
		fputc('\t', out);
}

static const void *member_of(const struct setting *setting, const void *base)
{
	return (const char *)base + setting->offset;
}

/* A group was left out when it lacks what it must have. */
static bool is_unset(const struct setting *setting, const void *value)
{
	const struct setting_kind *kind = setting_kind(setting);

	if (setting->type != SETTING_GROUP)
		return kind->unset && kind->unset(setting, value);
	for (const struct setting *s = setting->sub; s->name; s++) {
		const void *member = member_of(s, value);

		if (!(s->flags & SETTING_REQUIRED))
			continue;
		if (s->flags & SETTING_LIST ? !((const struct setting_list *)member)->count
					    : is_unset(s, member))
			return true;
	}
	return false;
}

static void print_value(FILE *out, const struct setting *setting, const void *value, unsigned depth)
{
	if (setting->type != SETTING_GROUP) {
		setting_kind(setting)->print(out, setting, value);
		return;
	}
	fputs("{\n", out);
	settings_print(out, setting->sub, value, depth + 1);
	indent(out, depth);
	fputc('}', out);
}

static const void *element_of(
	const struct setting *setting, const struct setting_list *list, size_t i)
{
	return (const char *)list->items + i * setting_value_size(setting);
}

/* Few plain values stand on one line, groups and many values each on a line of its own. */
static void print_list(
	FILE *out, const struct setting *setting, const struct setting_list *list, unsigned depth)
{
	/* [ ] takes one type only, and an integer with L is another type than one without */
	bool groups = setting->type == SETTING_GROUP;
	bool array = !groups && setting->type != SETTING_INT;
	bool one_line = !groups && list->count <= ELEMENTS_PER_LINE;

	fputc(array ? '[' : '(', out);
	for (size_t i = 0; i < list->count; i++) {
		fputs(i ? "," : "", out);
		fputc(one_line ? ' ' : '\n', out);
		if (!one_line)
			indent(out, depth + 1);
		print_value(out, setting, element_of(setting, list, i), depth + 1);
	}
	if (list->count && !one_line) {
		fputc('\n', out);
		indent(out, depth);
	} else {
		fputc(' ', out);
	}
	fputc(array ? ']' : ')', out);
}

void settings_print_member(
	FILE *out, const struct setting *setting, const void *base, unsigned depth)
{
	const void *member = member_of(setting, base);
	bool list = setting->flags & SETTING_LIST;

	indent(out, depth);
	if (!list && is_unset(setting, member)) {
		fprintf(out, "# %s is not set\n", setting->name);
		return;
	}
	fprintf(out, "%s = ", setting->name);
	if (list)
		print_list(out, setting, member, depth);
	else
		print_value(out, setting, member, depth);
	fputs(";\n", out);
}

void settings_print(FILE *out, const struct setting *table, const void *base, unsigned depth)
{
	for (const struct setting *s = table; s->name; s++)
		settings_print_member(out, s, base, depth);
}
