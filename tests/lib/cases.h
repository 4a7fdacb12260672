/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * A folder of cases: of each NAME with the ending, NAME.txt is what must be shown.
 *   PROGRAM DIR            compares, shows what differs
 *   PROGRAM DIR --write    writes the expected files anew
 */
#include <dirent.h>
#include <err.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "secret_file.h"
#include "text.h"

#define CASE_MAX 65536

/* Heap: what the case at `path` shows. */
typedef char *case_show_fn(const char *path);

static void case_write(const char *path, const char *text)
{
	FILE *out = fopen(path, "w");

	if (out == NULL)
		err(1, "%s", path);
	fputs(text, out);
	fclose(out);
}

/* `stem` letters of the name are before its ending. */
static bool case_check(
	const char *dir, const char *name, size_t stem, bool write_anew, case_show_fn *show)
{
	char *input = text_printf("%s/%s", dir, name);
	char *output = text_printf("%s/%.*s.txt", dir, (int)stem, name);
	char *shown = show(input), *expected;
	struct err why = {0};
	size_t len;
	bool same;

	if (write_anew)
		case_write(output, shown);
	expected = file_read(output, CASE_MAX, &len, &why);
	if (expected == NULL)
		warnx("%s", why.msg);
	same = expected != NULL && strcmp(shown, expected) == 0;
	if (!same)
		printf("%s:\n--- expected\n%s--- shown\n%s---\n", name,
			expected != NULL ? expected : "", shown);
	free(expected);
	free(shown);
	free(output);
	free(input);
	return same;
}

static int cases_run(int argc, char **argv, const char *ending, case_show_fn *show)
{
	unsigned n = 0, failed = 0;
	DIR *dir = argc > 1 ? opendir(argv[1]) : NULL;
	struct dirent *entry;

	if (dir == NULL)
		err(1, "usage: %s DIR [--write]", argv[0]);
	while ((entry = readdir(dir)) != NULL) {
		size_t len = strlen(entry->d_name), end = strlen(ending);

		if (len <= end || strcmp(entry->d_name + len - end, ending) != 0)
			continue;
		n++;
		failed += !case_check(argv[1], entry->d_name, len - end, argc > 2, show);
	}
	closedir(dir);
	printf("%u cases, %u failed\n", n, failed);
	return failed > 0 || n == 0;
}
