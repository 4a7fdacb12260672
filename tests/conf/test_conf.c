/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The settings parser over files. cases/good/NAME.conf: prints as NAME.out says (where that is
 * absent, as itself), and what was printed prints the same again. cases/bad/NAME.conf: complains as
 * NAME.err says. The names in a list `plugins` that have a table here are "rich" and "strict".
 *
 * With `--accept` the expected files are written from what came out: for a look at the diff.
 */
#include <dirent.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rich_table.h"
#include "settings_parse.h"

static bool accept_output;
static unsigned n_tests, n_failed;

/* What `tailplaned -nv` does with these two plugins. */
static struct config *load(struct config *config)
{
	const char *const *names;
	size_t n = config_plugins(config, &names);

	for (size_t i = 0; i < n; i++) {
		if (!strcmp(names[i], "rich")) {
			const struct rich *rich =
				config_bind(config, "rich", rich_settings, sizeof(struct rich));

			if (rich)
				rich_validate(rich, config_errors(config));
		} else if (!strcmp(names[i], "strict")) {
			config_bind(config, "strict", strict_settings, sizeof(struct strict));
		} else if (!strcmp(names[i], "plain")) {
			config_bind(config, "plain", NULL, 0);
		} else {
			setting_error(config_errors(config), &names[i], "there is no plugin \"%s\"",
				names[i]);
		}
	}
	config_finish(config);
	return config;
}

/* All complaints, or without any the configuration as understood. */
static char *outcome(struct config *config)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		err(1, "open_memstream");
	if (config_error(config, 0))
		config_print_errors(config, out);
	else
		config_print(config, out);
	fclose(out);
	config_free(config);
	return text;
}

static char *read_text(const char *path)
{
	FILE *file = fopen(path, "r"), *out;
	char *text = NULL;
	size_t size;
	int c;

	if (!file)
		return NULL;
	out = open_memstream(&text, &size);
	while ((c = fgetc(file)) != EOF)
		fputc(c, out);
	fclose(file);
	fclose(out);
	return text;
}

static void write_text(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	if (!file || fputs(text, file) < 0 || fclose(file))
		err(1, "%s", path);
}

static void show_diff(const char *path, const char *text)
{
	char command[4096];
	FILE *diff;

	snprintf(command, sizeof(command),
		"diff -u --label expected --label got '%s' - | sed 's/^/# /'", path);
	diff = popen(command, "w");
	if (!diff)
		err(1, "diff");
	fputs(text, diff);
	pclose(diff);
}

static void expect(const char *name, const char *what, const char *path, const char *text)
{
	char *expected = read_text(path);
	bool ok = expected && !strcmp(expected, text);

	if (!ok && accept_output) {
		write_text(path, text);
		ok = true;
	}
	n_tests++;
	n_failed += !ok;
	printf("%sok %u - %s: %s\n", ok ? "" : "not ", n_tests, name, what);
	fflush(stdout);
	if (!ok && expected)
		show_diff(path, text);
	else if (!ok)
		printf("# there is no %s; got:\n%s\n", path, text);
	free(expected);
}

static void run_good(const char *name, const char *conf)
{
	char out[4096], *text, *again;

	snprintf(out, sizeof(out), "%.*s.out", (int)strlen(conf) - 5, conf);
	text = outcome(load(config_open(conf)));
	expect(name, "print", access(out, F_OK) && !accept_output ? conf : out, text);

	again = outcome(load(config_open_text("printed", text, strlen(text))));
	n_tests++;
	n_failed += !!strcmp(text, again);
	printf("%sok %u - %s: print again\n", strcmp(text, again) ? "not " : "", n_tests, name);
	if (strcmp(text, again))
		printf("# %s\n", again);
	free(again);
	free(text);
}

static void run_bad(const char *name, const char *conf)
{
	char err_file[4096], *text;

	snprintf(err_file, sizeof(err_file), "%.*s.err", (int)strlen(conf) - 5, conf);
	text = outcome(load(config_open(conf)));
	expect(name, "complaints", err_file, text);
	free(text);
}

static int is_conf(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return dot && !strcmp(dot, ".conf");
}

/* Runs within the folder, so that complaints name files without it. */
static void run_folder(const char *folder, void (*run)(const char *name, const char *conf))
{
	struct dirent **entries;
	int n;

	if (chdir(folder) < 0 || (n = scandir(".", &entries, is_conf, alphasort)) < 0)
		err(1, "%s", folder);
	for (int i = 0; i < n; i++) {
		char name[512];

		snprintf(name, sizeof(name), "%s/%s", folder, entries[i]->d_name);
		run(name, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	if (!n || chdir("..") < 0)
		errx(1, "%s: no cases", folder);
}

int main(int argc, char **argv)
{
	accept_output = argc > 2 && !strcmp(argv[2], "--accept");
	if (argc < 2 || chdir(argv[1]) < 0)
		errx(1, "usage: test_conf CASES-FOLDER [--accept]");
	run_folder("good", run_good);
	run_folder("bad", run_bad);
	printf("1..%u\n", n_tests);
	return n_failed ? 1 : 0;
}
