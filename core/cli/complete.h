/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdio.h>

#include "client.h"
#include "commands.h"

/*
 * Prints what can stand at the end of `line` (the command line as far as the cursor): first a line
 * for the script ("files": file names can stand there too, or nothing), then a candidate a line.
 * `breaks` are the characters at which the shell divides words (COMP_WORDBREAKS): it wants only
 * what comes after the last of them. `client` is asked for names; not connected: none.
 */
void complete(FILE *out, const struct commands *commands, struct client *client, const char *line,
	const char *breaks);

/* The script for bash. */
extern const char completion_bash[];
