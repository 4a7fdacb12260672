/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each case is a file NAME.json: what an operation answered ("result", or "rows" one burst after
 * the other), its columns, the screen and the output wanted.
 */
#include "cases.h"
#include "commands.h"
#include "render.h"

static enum output output_of(const json_t *name)
{
	const char *text = name != NULL ? json_string_value(name) : "table";

	return strcmp(text, "json") == 0   ? OUTPUT_JSON
	       : strcmp(text, "yaml") == 0 ? OUTPUT_YAML
					   : OUTPUT_TABLE;
}

static struct screen screen_of(const json_t *c)
{
	return (struct screen){
		.tty = json_is_true(json_object_get(c, "tty")),
		.colour = json_is_true(json_object_get(c, "colour")),
		.utf8 = !json_is_false(json_object_get(c, "utf8")),
		.width = (unsigned)json_integer_value(json_object_get(c, "width")),
		.now_s = 1700000000,
	};
}

/* The columns come the way of the daemon's "describe". */
static void describe(struct commands *commands, const json_t *c)
{
	json_t *columns = json_object_get(c, "columns");
	json_t *table = json_pack("[{s:s, s:O?}]", "name", "case", "columns", columns);
	struct err err = {0};

	if (commands_describe(commands, table, &err) < 0)
		errx(1, "%s", err.msg);
	json_decref(table);
}

static char *shown_of(const json_t *c)
{
	struct screen screen = screen_of(c);
	struct commands commands = {0};
	char *text = NULL;
	size_t size, i, j;
	FILE *out = open_memstream(&text, &size);
	enum output output = output_of(json_object_get(c, "output"));

	describe(&commands, c);
	const struct op_column *columns = commands.described[0].columns;
	json_t *bursts = json_object_get(c, "rows"), *burst, *row;
	struct render_rows rows = {out, output, columns, &screen};

	json_array_foreach (bursts, i, burst) {
		json_array_foreach (burst, j, row) {
			render_row(&rows, row);
		}
		render_rows_flush(&rows);
	}
	render_rows_end(&rows);
	if (bursts == NULL)
		render(out, output, json_object_get(c, "result"), columns, &screen);
	fclose(out);
	commands_free(&commands);
	return text;
}

static char *show(const char *path)
{
	json_error_t why;
	json_t *c = json_load_file(path, 0, &why);
	char *text;

	if (c == NULL)
		errx(1, "%s:%d: %s", path, why.line, why.text);
	text = shown_of(c);
	json_decref(c);
	return text;
}

int main(int argc, char **argv)
{
	text_init();
	return cases_run(argc, argv, ".json", show);
}
