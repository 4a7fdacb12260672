/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of operations as a manual. Any thread; used at build time and by the command line. */
#include "manual_ops.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "manual.h"

static const char *const metavars[] = {
	[SETTING_BOOL] = "true|false",
	[SETTING_INT] = "NUMBER",
	[SETTING_STRING] = "TEXT",
	[SETTING_ENUM] = "WORD",
	[SETTING_DURATION] = "DURATION",
	[SETTING_SIZE] = "SIZE",
	[SETTING_RATE] = "RATE",
	[SETTING_ADDRESS] = "ADDRESS",
	[SETTING_PREFIX] = "PREFIX",
	[SETTING_ENDPOINT] = "HOST:PORT",
	[SETTING_KEY] = "KEY",
	[SETTING_SECRET_FILE] = "FILE",
	[SETTING_PATH] = "FILE",
	[SETTING_GROUP] = "VALUE",
};

static char *join_choices(const char *const *choices)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (size_t i = 0; out != NULL && choices[i] != NULL; i++)
		fprintf(out, "%s%s", i > 0 ? "|" : "", choices[i]);
	if (out != NULL)
		fclose(out);
	return text;
}

static char *upper(char *text)
{
	for (char *p = text; p != NULL && *p != '\0'; p++)
		*p = (char)toupper((unsigned char)*p);
	return text;
}

char *op_metavar(const struct op_arg *arg)
{
	if (arg->flags & (OP_ARG_FILE | OP_ARG_SECRET_FILE))
		return strdup("FILE");
	if (arg->choices != NULL && arg->choices[0] != NULL)
		return join_choices(arg->choices);
	/* A place has only its name to say what belongs there. */
	if (arg->flags & OP_ARG_POSITIONAL)
		return upper(strdup(arg->name));
	return strdup(metavars[arg->type]);
}

/* A word as a macro's argument: never another macro's name, never punctuation. */
static void print_word(FILE *out, const char *word)
{
	fputs(" \\&", out);
	for (; *word != '\0'; word++) {
		if (*word == '\\')
			fputs("\\e", out);
		else if (*word == '"')
			fputs("\\(dq", out);
		else if (*word == ' ')
			fputs("\\ ", out);
		else
			fputc(*word, out);
	}
}

/* Follows a request such as .It or .Op, or begins one when `first`. */
static void print_arg(FILE *out, const struct op_arg *arg, bool first)
{
	bool flag = arg->type == SETTING_BOOL && !(arg->flags & OP_ARG_POSITIONAL);
	char *metavar = flag ? NULL : op_metavar(arg);
	const char *lead = first ? "." : " ";

	if (!(arg->flags & OP_ARG_POSITIONAL)) {
		fprintf(out, "%sFl -%s", lead, arg->name);
		lead = " ";
		if (arg->letter)
			fprintf(out, " | Fl %c", arg->letter);
	}
	if (metavar != NULL) {
		fprintf(out, "%sAr", lead);
		print_word(out, metavar);
	}
	if (arg->flags & OP_ARG_LIST)
		fputs(" ...", out);
	free(metavar);
}

static void print_usage(FILE *out, const struct op *op)
{
	fputs(".It Xo\n.Ic", out);
	print_word(out, op->name);
	fputc('\n', out);
	for (const struct op_arg *arg = op->args; arg != NULL && arg->name != NULL; arg++) {
		bool required = arg->flags & OP_ARG_REQUIRED;

		fputs(required ? "" : ".Op", out);
		print_arg(out, arg, required);
		fputc('\n', out);
	}
	fputs(".Xc\n", out);
}

/* A sentence, whoever wrote it with its full stop or without. */
static void print_sentence(FILE *out, const char *help)
{
	size_t len = help != NULL ? strlen(help) : 0;

	if (len == 0)
		return;
	manual_text(out, help);
	fputs(strchr(".!?:", help[len - 1]) != NULL ? "\n" : ".\n", out);
}

void manual_op(FILE *out, const struct op *op)
{
	print_usage(out, op);
	print_sentence(out, op->help);
	if (op->args == NULL || op->args->name == NULL)
		return;
	fputs(".Bl -tag -width Ds -compact\n", out);
	for (const struct op_arg *arg = op->args; arg->name != NULL; arg++) {
		fputs(".It", out);
		print_arg(out, arg, false);
		fputc('\n', out);
		if (arg->help != NULL) {
			manual_text(out, arg->help);
			fputc('\n', out);
		}
	}
	fputs(".El\n", out);
}

void manual_ops(FILE *out, const struct op *ops)
{
	for (const struct op *op = ops; op != NULL && op->name != NULL; op++)
		manual_op(out, op);
}
