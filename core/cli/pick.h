/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stddef.h>

#include <jansson.h>

#include <tailplane/op.h>

/*
 * Of rows as the daemon writes them, [{"id":"1",...},...] without spaces, those members alone that
 * `columns` name: a table of ten thousand nodes shows a fifth of what is known of them, and to read
 * the rest would take most of the time. New reference; NULL: the text is no rows of this kind, and
 * is to be read whole.
 */
json_t *pick_rows(const char *text, size_t len, const struct op_column *columns);
