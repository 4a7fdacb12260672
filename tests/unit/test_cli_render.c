/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each case is a file NAME.json: what an operation answered ("result", or "rows" one burst after
 * the other), its columns, the screen and the output wanted. NAME.txt is what must be shown.
 *   test_cli_render DIR            compares, shows what differs
 *   test_cli_render DIR --write    writes the expected files anew
 */
#include <dirent.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "render.h"
#include "text.h"

static bool write_anew;

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

static char *show(const json_t *c)
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

static char *expected_text(const char *path)
{
	char *text = text_alloc(65536, 1);
	FILE *in = fopen(path, "r");

	if (in == NULL || fread(text, 1, 65535, in) == 0)
		warnx("%s: nothing in it", path);
	if (in != NULL)
		fclose(in);
	return text;
}

static bool check(const char *dir, const char *name)
{
	char *input = text_printf("%s/%s", dir, name);
	char *output = text_printf("%s/%.*s.txt", dir, (int)strlen(name) - 5, name);
	json_error_t why;
	json_t *c = json_load_file(input, 0, &why);

	if (c == NULL)
		errx(1, "%s:%d: %s", input, why.line, why.text);
	char *shown = show(c), *expected = NULL;

	if (write_anew) {
		FILE *out = fopen(output, "w");

		if (out == NULL)
			err(1, "%s", output);
		fputs(shown, out);
		fclose(out);
	}
	expected = expected_text(output);
	bool same = strcmp(shown, expected) == 0;

	if (!same)
		printf("%s:\n--- expected\n%s--- shown\n%s---\n", name, expected, shown);
	free(expected);
	free(shown);
	free(output);
	free(input);
	json_decref(c);
	return same;
}

int main(int argc, char **argv)
{
	unsigned n = 0, failed = 0;
	DIR *dir = argc > 1 ? opendir(argv[1]) : NULL;
	struct dirent *entry;

	if (dir == NULL)
		err(1, "usage: test_cli_render DIR [--write]");
	write_anew = argc > 2;
	text_init();
	while ((entry = readdir(dir)) != NULL) {
		size_t len = strlen(entry->d_name);

		if (len < 6 || strcmp(entry->d_name + len - 5, ".json") != 0)
			continue;
		n++;
		failed += !check(argv[1], entry->d_name);
	}
	closedir(dir);
	printf("%u cases, %u failed\n", n, failed);
	return failed > 0 || n == 0;
}
