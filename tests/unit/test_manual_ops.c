/* SPDX-License-Identifier: BSD-3-Clause */
/* Operations as mdoc: nothing in a table is taken for a request or an escape. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "manual_ops.h"

static const struct op_arg args[] = {
	{"peer", SETTING_KEY, OP_ARG_POSITIONAL | OP_ARG_REQUIRED, .help = "its \\key-"},
	{"allowed-ips", SETTING_PREFIX, OP_ARG_REQUIRED | OP_ARG_LIST, .help = ".prefixes"},
	{"volatile", SETTING_BOOL, .help = "not kept"},
	{"mode", SETTING_ENUM, 0, (const char *const[]){"Fl", "slow", NULL}, .help = "'how"},
	{"write", SETTING_PATH, OP_ARG_FILE},
	{0},
};

static const struct op ops[] = {
	{"Ar add", "Adds it.", OP_WRITE, args},
	{"plain", NULL},
	{0},
};

static const char expected[] = ".It Xo\n"
			       ".Ic \\&Ar\\ add\n"
			       ".Ar \\&PEER\n"
			       ".Fl -allowed-ips Ar \\&PREFIX ...\n"
			       ".Op Fl -volatile\n"
			       ".Op Fl -mode Ar \\&Fl|slow\n"
			       ".Op Fl -write Ar \\&FILE\n"
			       ".Xc\n"
			       "Adds it.\n"
			       ".Bl -tag -width Ds -compact\n"
			       ".It Ar \\&PEER\n"
			       "its \\ekey\\-\n"
			       ".It Fl -allowed-ips Ar \\&PREFIX ...\n"
			       "\\&.prefixes\n"
			       ".It Fl -volatile\n"
			       "not kept\n"
			       ".It Fl -mode Ar \\&Fl|slow\n"
			       "\\&'how\n"
			       ".It Fl -write Ar \\&FILE\n"
			       ".El\n"
			       ".It Xo\n"
			       ".Ic \\&plain\n"
			       ".Xc\n";

static void test_manual(void **state)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	manual_ops(out, ops);
	fclose(out);
	assert_string_equal(text, expected);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_manual)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
