/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a table is made to fit: each column wants its widest cell. Where that is too much, first the
 * lists and sentences give way (they go on over more lines), then the words (cut short with …), the
 * widest first. Numbers are never cut. When that is not enough, the table is turned: a block of
 * "title: value" lines for each row, in which everything is shown whole.
 */
#include "table.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

#define GAP 2
#define FOLD_MIN 20
#define WORD_MIN 12

void table_column(struct table *table, char *title, bool right, const char *fold)
{
	table->columns = text_grow(table->columns, table->n_columns + 1, sizeof(*table->columns));
	table->columns[table->n_columns++] =
		(struct table_column){.title = title, .right = right, .fold = fold};
}

void table_cell(struct table *table, char *text, enum tone tone)
{
	/* By powers of two: ten thousand peers are a hundred thousand cells. */
	if ((table->n_cells & (table->n_cells - 1)) == 0)
		table->cells = text_grow(table->cells, table->n_cells > 0 ? table->n_cells * 2 : 1,
			sizeof(*table->cells));
	table->cells[table->n_cells++] = (struct table_cell){text, tone};
}

static void forget_rows(struct table *table)
{
	for (size_t i = 0; i < table->n_cells; i++)
		free(table->cells[i].text);
	free(table->cells);
	table->cells = NULL;
	table->n_cells = 0;
}

void table_free(struct table *table)
{
	forget_rows(table);
	for (unsigned i = 0; i < table->n_columns; i++)
		free(table->columns[i].title);
	free(table->columns);
	*table = (struct table){0};
}

static unsigned larger(unsigned a, size_t b)
{
	return a > b ? a : (unsigned)b;
}

/* The widest part of a cell that is not folded. */
static unsigned widest_part(const char *text, const char *fold)
{
	unsigned widest = 0;

	while (*text != '\0') {
		const char *end = strstr(text, fold);
		size_t len = end != NULL ? (size_t)(end - text) + strlen(fold) - 1 : strlen(text);
		char *part = text_copy(text, len);

		widest = larger(widest, text_width(part));
		free(part);
		text += len + (end != NULL);
	}
	return widest;
}

/* What column `c` wants, and in *least how far it can give way. */
static unsigned measure(const struct table *table, unsigned c, unsigned *least)
{
	const struct table_column *column = &table->columns[c];
	unsigned title = (unsigned)text_width(column->title), part = 0;
	unsigned want = larger(title, column->width);

	for (size_t i = c; i < table->n_cells; i += table->n_columns) {
		want = larger(want, text_width(table->cells[i].text));
		if (column->fold != NULL)
			part = larger(part, widest_part(table->cells[i].text, column->fold));
	}
	*least = want;
	if (column->fold != NULL)
		*least = larger(larger(title, part), FOLD_MIN);
	else if (!column->right)
		*least = larger(title, WORD_MIN);
	*least = *least < want ? *least : want;
	return want;
}

/* Takes `excess` columns away from the columns that fold or from the others; answers what is left
 * of it. */
static unsigned give_way(struct table *table, const unsigned *least, unsigned excess, bool fold)
{
	while (excess > 0) {
		struct table_column *widest = NULL;

		for (unsigned c = 0; c < table->n_columns; c++) {
			struct table_column *column = &table->columns[c];

			if ((column->fold != NULL) == fold && column->width > least[c] &&
				(widest == NULL || column->width >= widest->width))
				widest = column;
		}
		if (widest == NULL)
			break;
		widest->width--;
		excess--;
	}
	return excess;
}

static bool fit(struct table *table, const struct screen *screen, unsigned indent)
{
	unsigned *least = text_alloc(table->n_columns, sizeof(*least)), total = indent;

	for (unsigned c = 0; c < table->n_columns; c++) {
		table->columns[c].width = measure(table, c, &least[c]);
		total += table->columns[c].width + (c > 0 ? GAP : 0);
	}
	unsigned excess = screen->width > 0 && total > screen->width ? total - screen->width : 0;

	excess = give_way(table, least, excess, true);
	excess = give_way(table, least, excess, false);
	free(least);
	return excess == 0;
}

/* Bytes of `text` that go on this line; *skip is what stands between it and the next line. */
static size_t line_of(const char *text, const struct table_column *column, size_t *skip)
{
	size_t len = strlen(text), best = 0;

	*skip = 0;
	if (text_width(text) <= column->width)
		return len;
	size_t fits = text_clip(text, column->width);

	if (column->fold == NULL)
		return fits;
	for (const char *end = text; (end = strstr(end, column->fold)) != NULL; end++) {
		size_t part = (size_t)(end - text) + strlen(column->fold) - 1;

		if (part <= fits)
			best = part;
	}
	*skip = best > 0;
	return best > 0 ? best : fits;
}

static void pad(FILE *out, size_t columns)
{
	fprintf(out, "%*s", (int)columns, "");
}

/* One line of one cell. Padding stands outside the colours; the last column has none. */
static void print_cell(FILE *out, const struct screen *screen, const struct table_column *column,
	const char *text, size_t len, enum tone tone, bool last)
{
	const char *more = "";
	char *line = text_copy(text, len);

	if (column->fold == NULL && text[len] != '\0') {
		more = screen->utf8 ? "…" : "...";
		line[text_clip(line, column->width - text_width(more))] = '\0';
	}
	size_t width = text_width(line) + text_width(more);
	size_t space = column->width > width ? column->width - width : 0;

	if (column->right)
		pad(out, space);
	fprintf(out, "%s%s%s%s", tone_begin(tone, screen), line, more, tone_end(tone, screen));
	if (!last)
		pad(out, (column->right ? 0 : space) + GAP);
	free(line);
}

/* A row takes as many lines as its longest list. */
static void print_row(struct table *table, FILE *out, const struct screen *screen, unsigned indent,
	const struct table_cell *cells)
{
	const char **rest = text_alloc(table->n_columns, sizeof(*rest));
	bool more = true;

	for (unsigned c = 0; c < table->n_columns; c++)
		rest[c] = cells[c].text;
	while (more) {
		unsigned last = 0;

		more = false;
		for (unsigned c = 0; c < table->n_columns; c++)
			if (rest[c][0] != '\0')
				last = c;
		pad(out, indent);
		for (unsigned c = 0; c <= last; c++) {
			const struct table_column *column = &table->columns[c];
			size_t skip, len = line_of(rest[c], column, &skip);

			print_cell(out, screen, column, rest[c], len, cells[c].tone, c == last);
			rest[c] += column->fold != NULL ? len + skip : strlen(rest[c]);
			more = more || rest[c][0] != '\0';
		}
		fputc('\n', out);
	}
	free(rest);
}

static void print_titles(
	struct table *table, FILE *out, const struct screen *screen, unsigned indent)
{
	struct table_cell *titles = text_alloc(table->n_columns, sizeof(*titles));

	for (unsigned c = 0; c < table->n_columns; c++)
		titles[c] = (struct table_cell){table->columns[c].title, TONE_TITLE};
	print_row(table, out, screen, indent, titles);
	free(titles);
	table->titled = true;
}

void table_print(struct table *table, FILE *out, const struct screen *screen, unsigned indent)
{
	if (!fit(table, screen, indent)) {
		table_print_blocks(table, out, screen, indent);
		return;
	}
	if (!table->titled)
		print_titles(table, out, screen, indent);
	for (size_t i = 0; i + table->n_columns <= table->n_cells; i += table->n_columns)
		print_row(table, out, screen, indent, table->cells + i);
	forget_rows(table);
}

static void print_value(
	FILE *out, const struct table_cell *cell, const struct screen *screen, unsigned indent)
{
	const char *text = cell->text;

	fputs(tone_begin(cell->tone, screen), out);
	for (;;) {
		size_t len = strcspn(text, "\n");

		fprintf(out, "%.*s", (int)len, text);
		if (text[len] == '\0' || text[len + 1] == '\0')
			break;
		text += len + 1;
		fputc('\n', out);
		pad(out, indent);
	}
	fprintf(out, "%s\n", tone_end(cell->tone, screen));
}

void table_print_blocks(
	struct table *table, FILE *out, const struct screen *screen, unsigned indent)
{
	unsigned width = 0;

	for (unsigned c = 0; c < table->n_columns; c++)
		width = larger(width, text_width(table->columns[c].title));
	for (size_t i = 0; i < table->n_cells; i++) {
		unsigned c = (unsigned)(i % table->n_columns);
		const char *title = table->columns[c].title;

		if (c == 0 && (i > 0 || table->titled))
			fputc('\n', out);
		pad(out, indent);
		fprintf(out, "%s%s:%s", tone_begin(TONE_TITLE, screen), title,
			tone_end(TONE_TITLE, screen));
		pad(out, width - text_width(title) + 1);
		print_value(out, &table->cells[i], screen, indent + width + 2);
	}
	table->titled = true;
	forget_rows(table);
}
