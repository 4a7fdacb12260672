/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>

#include <tailplane/op.h>

#include "options.h"

/* What a command line says to an operation. */
struct args {
	json_t *values;   /* for `run`: bool, integer, string, or an array of them */
	const char *file; /* path of the OP_ARG_FILE argument, "-" for stdout (input: stdin); NULL:
			     none */
	bool input;       /* it is read */
};

/*
 * Parses the words after the operation's name: places, --name VALUE, --name=VALUE, --name and
 * --no-name for a bool, lists by repetition or comma; `--` ends the options. Options for each
 * command go to `options`. Reads the files of secrets ("-": stdin). With --help it stops
 * asking for what is missing. 0 or -EINVAL with the reason.
 */
int args_parse(const struct op *op, char *const *words, struct options *options, struct args *args,
	struct err *err);
void args_free(struct args *args);
