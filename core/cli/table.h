/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdio.h>

#include "format.h"

/* Rows of cells in aligned columns, made to fit the screen. */
struct table_column {
	char *title;
	bool right; /* numbers stand at the right */
	const char
		*fold;  /* a cell may go on over several lines, broken here: ", " or " "; or NULL */
	unsigned width; /* what it is given; grows with what is printed */
};

struct table_cell {
	char *text;
	enum tone tone;
};

struct table {
	struct table_column *columns;
	unsigned n_columns;
	struct table_cell *cells; /* row by row */
	size_t n_cells;
	bool titled; /* the title line has been printed */
};

/* Takes `title` (heap). */
void table_column(struct table *table, char *title, bool right, const char *fold);
/* The next cell of the row; takes `text` (heap). All columns must be there. */
void table_cell(struct table *table, char *text, enum tone tone);
/* Prints the rows there are and forgets them; the titles once. Each line comes after `indent`
 * spaces. A table too wide for the screen even with its texts cut short is printed as blocks. */
void table_print(struct table *table, FILE *out, const struct screen *screen, unsigned indent);
/* The same with one "title: value" line per cell, and an empty line between rows. */
void table_print_blocks(
	struct table *table, FILE *out, const struct screen *screen, unsigned indent);
void table_free(struct table *table);
