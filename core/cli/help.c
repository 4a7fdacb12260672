/* SPDX-License-Identifier: BSD-3-Clause */
#include "help.h"

#include <stdlib.h>
#include <string.h>

#include "manual_ops.h"
#include "options.h"
#include "text.h"

#define NAME_COLUMN 26 /* explanations begin here; a longer name gets a line of its own */

/* The words of `text` from column `indent` on; the line stands at `column` now. */
static void print_wrapped(
	FILE *out, const char *text, const struct screen *screen, unsigned indent, unsigned column)
{
	unsigned width = screen->width > 0 ? screen->width : 80;
	bool first = true;

	if (column > 0 && column >= indent) {
		fputc('\n', out);
		column = 0;
	}
	fprintf(out, "%*s", (int)(indent - column), "");
	column = indent;
	for (text += strspn(text, " \n"); *text != '\0'; text += strspn(text, " \n")) {
		size_t len = strcspn(text, " \n");
		char *word = text_copy(text, len);
		unsigned word_width = (unsigned)text_width(word);

		if (!first && column + 1 + word_width > width) {
			fprintf(out, "\n%*s", (int)indent, "");
			column = indent;
			first = true;
		}
		fprintf(out, "%s%s", first ? "" : " ", word);
		column += word_width + !first;
		first = false;
		free(word);
		text += len;
	}
	fputc('\n', out);
}

static void print_entry(FILE *out, const char *name, const char *help, const struct screen *screen)
{
	fprintf(out, "  %s", name);
	print_wrapped(
		out, help != NULL ? help : "", screen, NAME_COLUMN, 2 + (unsigned)text_width(name));
}

static void print_heading(FILE *out, const char *heading, const struct screen *screen)
{
	fprintf(out, "\n%s%s%s\n", tone_begin(TONE_TITLE, screen), heading,
		tone_end(TONE_TITLE, screen));
}

/* The first sentence. Heap. */
static char *in_short(const char *help)
{
	const char *end = help != NULL ? strstr(help, ". ") : NULL;
	size_t len = end != NULL ? (size_t)(end - help) : strlen(help != NULL ? help : "");

	if (len > 0 && help[len - 1] == '.')
		len--;
	return text_copy(help != NULL ? help : "", len);
}

static bool below(const char *name, const char *prefix)
{
	size_t len = strlen(prefix);

	return len == 0 || (strncmp(name, prefix, len) == 0 && name[len] == ' ');
}

static unsigned print_commands(FILE *out, const struct commands *commands, const char *prefix,
	const char *heading, const struct screen *screen)
{
	unsigned n = 0;

	for (size_t i = 0; i < commands->count; i++) {
		const struct op *op = commands->ops[i];

		if (!below(op->name, prefix))
			continue;
		if (n++ == 0)
			print_heading(out, heading, screen);
		char *help = in_short(op->help);

		print_entry(out, op->name, help, screen);
		free(help);
	}
	return n;
}

static void print_options(FILE *out, const struct screen *screen)
{
	print_heading(out, "Options of each command:", screen);
	for (const struct option_name *o = option_names; o->name != NULL; o++) {
		bool glued = o->metavar != NULL && o->metavar[0] == '[';
		char letter[] = {'-', o->letter, ',', ' ', '\0'};
		char *name = text_printf("%s--%s%s%s", o->letter != 0 ? letter : "    ", o->name,
			o->metavar == NULL ? ""
			: glued            ? "[="
					   : " ",
			o->metavar == NULL ? "" : o->metavar + glued);

		print_entry(out, name, o->help, screen);
		free(name);
	}
}

void help_overview(
	FILE *out, const struct commands *commands, const struct screen *screen, const char *note)
{
	fputs("usage: tailplane [OPTIONS] COMMAND [ARGUMENTS]\n", out);
	print_commands(out, commands, "", "Commands:", screen);
	print_options(out, screen);
	fputs("\n'tailplane help COMMAND' explains one. Words may be cut short where it is clear "
	      "what is meant.\n",
		out);
	if (note != NULL) {
		fputc('\n', out);
		print_wrapped(out, note, screen, 0, 0);
	}
}

static bool is_flag(const struct op_arg *arg)
{
	return arg->type == SETTING_BOOL && !(arg->flags & (OP_ARG_POSITIONAL | OP_ARG_LIST));
}

/* As it is typed: NAME, --name VALUE, --name. Heap. */
static char *typed(const struct op_arg *arg)
{
	const char letter[] = {arg->letter != '\0' ? '-' : '\0', arg->letter, '|', '\0'};
	char *metavar = op_metavar(arg), *text;

	if (arg->flags & OP_ARG_POSITIONAL)
		text = text_printf("%s%s", metavar, arg->flags & OP_ARG_LIST ? "..." : "");
	else if (is_flag(arg))
		text = text_printf("%s--%s", letter, arg->name);
	else
		text = text_printf("%s--%s %s%s", letter, arg->name, metavar,
			arg->flags & OP_ARG_LIST ? ",..." : "");
	free(metavar);
	return text;
}

void help_usage(FILE *out, const struct op *op)
{
	fprintf(out, "usage: tailplane %s", op->name);
	for (const struct op_arg *arg = op->args; arg != NULL && arg->name != NULL; arg++) {
		bool required = arg->flags & OP_ARG_REQUIRED;
		char *text = typed(arg);

		fprintf(out, required ? " %s" : " [%s]", text);
		free(text);
	}
	fputc('\n', out);
}

static void print_op(FILE *out, const struct op *op, const struct screen *screen)
{
	bool any = false;

	help_usage(out, op);
	if (op->help != NULL) {
		fputc('\n', out);
		print_wrapped(out, op->help, screen, 0, 0);
	}
	for (const struct op_arg *arg = op->args; arg != NULL && arg->name != NULL; arg++) {
		char *text = typed(arg);

		if (!any)
			print_heading(out, "Arguments:", screen);
		any = true;
		print_entry(out, text, arg->help, screen);
		free(text);
	}
}

void help_command(
	FILE *out, const struct commands *commands, const char *prefix, const struct screen *screen)
{
	const struct op *op = commands_find(commands, prefix);

	if (op != NULL)
		print_op(out, op, screen);
	else
		fprintf(out, "usage: tailplane %s COMMAND [ARGUMENTS]\n", prefix);
	print_commands(out, commands, prefix, op != NULL ? "See also:" : "Commands:", screen);
	fputs("\nThe options of each command: 'tailplane help'.\n", out);
}
