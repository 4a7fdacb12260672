/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdio.h>

#include <jansson.h>

#include <tailplane/op.h>

#include "format.h"
#include "options.h"
#include "table.h"

/*
 * Shows what an operation answered, one document: as a table for people, or for machines as it is.
 * `columns` may be NULL.
 */
void render(FILE *out, enum output output, const json_t *result, const struct op_column *columns,
	const struct screen *screen);

/* Rows that come one by one: a table that goes on, JSON lines, YAML documents. */
struct render_rows {
	FILE *out;
	enum output output;
	const struct op_column *columns;
	const struct screen *screen;
	struct table table;
	json_t *keys;    /* of its columns */
	json_t *waiting; /* rows of a table not printed yet: they come in bursts, and are aligned */
	bool any;
};
void render_row(struct render_rows *rows, const json_t *row);
/* The rows have paused: print what waits. */
void render_rows_flush(struct render_rows *rows);
void render_rows_end(struct render_rows *rows);
