/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdio.h>

#include <tailplane/settings.h>

/*
 * The reference of one group's settings for tailplane.conf(5): a subsection (.Ss) in mdoc(7),
 * names, forms, defaults, bounds and help from the table itself, groups within it as nested lists.
 */
void manual_settings(FILE *out, const char *group, const struct setting *table);
/* Any text as the content of a line of roff: nothing in it is a request or an escape. */
void manual_text(FILE *out, const char *text);
