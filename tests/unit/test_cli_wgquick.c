/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each case is a wg-quick configuration NAME.conf; NAME.txt is what is said about it, and, unless
 * it is refused, the configuration that comes of it.
 *   test_cli_wgquick DIR [--write]
 */
#include <dirent.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "secret_file.h"
#include "text.h"
#include "wgquick.h"

static bool write_anew;

static char *psk_path(void *arg, const struct wgquick_peer *peer)
{
	return text_printf("/keys/%02x%02x.psk", peer->key.bytes[0], peer->key.bytes[1]);
}

static char *import(const char *text, size_t len)
{
	const struct wgquick_paths paths = {"/keys/wg0.key", psk_path};
	struct wgquick conf;
	char *shown = NULL;
	size_t size;
	FILE *out = open_memstream(&shown, &size);
	int rc = wgquick_parse(&conf, text, len);

	for (size_t i = 0; i < conf.n_notes; i++)
		fprintf(out, "%u: %s: %s\n", conf.notes[i].line,
			conf.notes[i].error ? "error" : "left out", conf.notes[i].text);
	if (rc == 0)
		wgquick_print(out, &conf, "wg0", &paths);
	wgquick_free(&conf);
	fclose(out);
	return shown;
}

static void write_file(const char *path, const char *text)
{
	FILE *out = fopen(path, "w");

	if (out == NULL)
		err(1, "%s", path);
	fputs(text, out);
	fclose(out);
}

static bool check(const char *dir, const char *name)
{
	char *input = text_printf("%s/%s", dir, name);
	char *output = text_printf("%s/%.*s.txt", dir, (int)strlen(name) - 5, name);
	struct err why = {0};
	size_t len, expected_len;
	char *text = file_read(input, WGQUICK_SIZE_MAX, &len, &why);

	if (text == NULL)
		errx(1, "%s", why.msg);
	char *shown = import(text, len);

	if (write_anew)
		write_file(output, shown);
	char *expected = file_read(output, WGQUICK_SIZE_MAX, &expected_len, &why);

	if (expected == NULL)
		errx(1, "%s", why.msg);
	bool same = strcmp(shown, expected) == 0;

	if (!same)
		printf("%s:\n--- expected\n%s--- shown\n%s---\n", name, expected, shown);
	free(expected);
	free(shown);
	free(text);
	free(output);
	free(input);
	return same;
}

int main(int argc, char **argv)
{
	unsigned n = 0, failed = 0;
	DIR *dir = argc > 1 ? opendir(argv[1]) : NULL;
	struct dirent *entry;

	if (dir == NULL)
		err(1, "usage: test_cli_wgquick DIR [--write]");
	write_anew = argc > 2;
	while ((entry = readdir(dir)) != NULL) {
		size_t len = strlen(entry->d_name);

		if (len < 6 || strcmp(entry->d_name + len - 5, ".conf") != 0)
			continue;
		n++;
		failed += !check(argv[1], entry->d_name);
	}
	closedir(dir);
	printf("%u cases, %u failed\n", n, failed);
	return failed > 0 || n == 0;
}
