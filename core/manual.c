/* SPDX-License-Identifier: BSD-3-Clause */
/* The settings tables as pages of the manual. Pure: runs on any thread. */
#include "manual.h"

#include <ctype.h>

#include "settings_private.h"

void manual_text(FILE *out, const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", out);
	for (; *text; text++) {
		if (*text == '\\')
			fputs("\\e", out);
		else if (*text == '-')
			fputs("\\-", out);
		else if (*text == '\n')
			fputc(' ', out); /* a new line could begin with a request */
		else
			fputc(*text, out);
	}
}

/* Where the form alone leaves one guessing. */
static bool needs_example(const struct setting *setting)
{
	switch (setting->type) {
	case SETTING_DURATION:
	case SETTING_SIZE:
	case SETTING_RATE:
	case SETTING_ADDRESS:
	case SETTING_PREFIX:
	case SETTING_ENDPOINT:
		return !setting->def;
	default:
		return false;
	}
}

static void print_form(FILE *out, const struct setting *setting)
{
	bool list = setting->flags & SETTING_LIST;
	char buf[256], bounds[80];
	const char *form = setting_form(setting, buf);

	fputs(list ? "A list, each element " : "", out);
	fputc(list ? form[0] : toupper((unsigned char)form[0]), out);
	manual_text(out, form + 1);
	if (needs_example(setting)) {
		fputs(", such as ", out);
		manual_text(out, setting_kind(setting)->example);
	}
	if (*setting_bounds(setting, bounds)) {
		fputs(", ", out);
		manual_text(out, bounds);
	}
	if (setting->unit) {
		fputs(*bounds ? " " : ", in ", out);
		manual_text(out, setting->unit);
	}
	fputs(".\n", out);
}

static void print_default(FILE *out, const struct setting *setting)
{
	bool list = setting->flags & SETTING_LIST;

	if (setting->flags & SETTING_REQUIRED)
		fputs(list ? "Required, with at least one element.\n" : "Required.\n", out);
	else if (setting->def && !list) {
		bool string = setting_kind(setting)->token == TOKEN_IS_STRING;

		fputs(string ? "Default: \"" : "Default: ", out);
		manual_text(out, setting->def);
		fputs(string ? "\".\n" : ".\n", out);
	}
	if (setting->flags & SETTING_UNIQUE)
		fputs("No two elements share it.\n", out);
	if (setting->flags & SETTING_RESTART)
		fputs("A change takes a restart of the daemon.\n", out);
}

static void print_table(FILE *out, const struct setting *table, unsigned depth)
{
	fputs(".Bl -tag -width Ds\n", out);
	for (const struct setting *s = table; s->name; s++) {
		fprintf(out, ".It Ic %s\n", s->name);
		print_form(out, s);
		print_default(out, s);
		if (s->help) {
			fputs(".Pp\n", out);
			manual_text(out, s->help);
			fputc('\n', out);
		}
		/* a table may hold lists of its own kind, the manual shows a few levels */
		if (s->type == SETTING_GROUP && depth < NESTING_MAX / 4)
			print_table(out, s->sub, depth + 1);
	}
	fputs(".El\n", out);
}

void manual_settings(FILE *out, const char *group, const struct setting *table)
{
	fprintf(out, ".Ss %s\n", group);
	if (table && table->name)
		print_table(out, table, 0);
	else
		fputs("It takes no settings.\n", out);
}
