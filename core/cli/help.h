/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdio.h>

#include "commands.h"
#include "format.h"

/* All commands with a line each, and the options. `note` is shown at the end unless NULL. */
void help_overview(
	FILE *out, const struct commands *commands, const struct screen *screen, const char *note);
/* What begins with these words: one command explained, and the commands below it. */
void help_command(FILE *out, const struct commands *commands, const char *prefix,
	const struct screen *screen);
/* "usage: tailplane peers add TUNNEL ..." */
void help_usage(FILE *out, const struct op *op);
