/* SPDX-License-Identifier: BSD-3-Clause */
/* What can stand at the end of a command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "complete.h"

#define GLOBAL "--socket --output --color --watch --force --help --version"
#define BREAKS " \t\n\"'><=;|&(:"

static const struct op_arg peers_args[] = {
	{"tunnel", SETTING_STRING, OP_ARG_POSITIONAL},
	{0},
};

static const struct op_arg add_args[] = {
	{"public-key", SETTING_KEY, OP_ARG_POSITIONAL | OP_ARG_REQUIRED},
	{"mode", SETTING_ENUM, 0, (const char *const[]){"fast", "slow", NULL}},
	{"tags", SETTING_STRING, OP_ARG_LIST, (const char *const[]){"red", "green", "grey", NULL}},
	{"preshared-key", SETTING_STRING, OP_ARG_SECRET_FILE},
	{"volatile", SETTING_BOOL},
	{0},
};

static const struct op_arg level_args[] = {
	{"level", SETTING_ENUM, OP_ARG_POSITIONAL, (const char *const[]){"info", "debug", NULL}},
	{0},
};

static const struct op_arg import_args[] = {
	{"file", SETTING_PATH, OP_ARG_POSITIONAL},
	{"write", SETTING_PATH},
	{0},
};

static const struct op ops[] = {
	{"status"},
	{"peers", .args = peers_args},
	{"peers add", .args = add_args},
	{"peers remove"},
	{"ports"},
	{"log level", .args = level_args},
	{"import wg", .args = import_args},
	{"help"},
	{0},
};

static char *completed(const char *line, const char *breaks)
{
	struct client nobody = {.fd = -1};
	struct commands commands = {0};
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (const struct op *op = ops; op->name != NULL; op++)
		commands_add(&commands, op);
	complete(out, &commands, &nobody, line, breaks);
	fclose(out);
	commands_free(&commands);
	/* One line: the flags, a bar, the candidates. */
	char *bar = strchr(text, '\n');

	assert_non_null(bar);
	*bar = '|';
	for (char *p = bar; (p = strchr(p, '\n')) != NULL;)
		*p = p[1] != '\0' ? ' ' : '\0';
	return text;
}

static void test_complete(void **state)
{
	static const struct {
		const char *line, *expected;
	} cases[] = {
		{"tailplane ", "|help import log peers ports status"},
		{"tailplane p", "|peers ports"},
		{"tailplane pe", "|peers"},
		{"tailplane peers", "|peers"},
		{"tailplane peers ", "|add remove"},
		{"tailplane pe a", "|add"},
		{"tailplane lo l", "|level"},
		{"tailplane log level ", "|info debug"},
		{"tailplane log level d", "|debug"},
		{"tailplane log level info ", "|"},
		{"tailplane nonsense ", "|"},
		{"tailplane help pe", "|peers"},
		{"tailplane help peers a", "|add"},
		{"tailplane help log level ", "|"},
		{"tailplane --", "|" GLOBAL},
		{"tailplane -o ", "|table json yaml json-line"},
		{"tailplane -o json pe", "|peers"},
		{"tailplane --output=y", "|yaml"},
		{"tailplane -s ", "files|"},
		{"tailplane -s /x st", "|status"},
		{"tailplane peers add ", "|"},
		{"tailplane peers add --m", "|--mode"},
		{"tailplane peers add --mode ", "|fast slow"},
		{"tailplane peers add --mode=s", "|slow"},
		{"tailplane peers add --tags gr", "|green grey"},
		{"tailplane peers add --tags red,gr", "|red,green red,grey"},
		{"tailplane peers add --tags=red,gr", "|red,green red,grey"},
		{"tailplane peers add --volatile=", "|true false"},
		{"tailplane peers add --volatile --mode f", "|fast"},
		{"tailplane peers add K --preshared-key ", "files|"},
		{"tailplane peers add K --preshared-key f -", "|--mode --tags --volatile " GLOBAL},
		{"tailplane peers add K -o ", "|table json yaml json-line"},
		{"tailplane peers add K --color ", "|auto always never"},
		{"tailplane import wg ", "files|"},
		{"tailplane import wg f ", "|"},
		{"tailplane import wg f -w ", "files|"},
		{"tailplane import wg 'a b' --wr", "|--write"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = completed(cases[i].line, BREAKS);

		print_message("%s\n", cases[i].line);
		assert_string_equal(text, cases[i].expected);
		free(text);
	}
}

/* A shell that does not break at '=' is given the whole word. */
static void test_breaks(void **state)
{
	char *text = completed("tailplane --output=y", " ");

	assert_string_equal(text, "|--output=yaml");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_complete),
		cmocka_unit_test(test_breaks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
