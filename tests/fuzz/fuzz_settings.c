/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any text as a configuration. Whatever is understood prints to a text that is understood the same,
 * and the two lexers (ours and libconfig's) agree on it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rich_table.h"
#include "settings_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* "strict" cannot be absent, so it is bound only where the text names it. */
static void bind_strict(struct config *config)
{
	const struct strict *strict;
	const char *const *names;
	size_t n = config_plugins(config, &names);

	for (size_t i = 0; i < n; i++) {
		if (strcmp(names[i], "strict"))
			continue;
		strict = config_bind(config, "strict", strict_settings, sizeof(struct strict));
		if (strict && !strict->files.count)
			abort(); /* it is required */
	}
}

static struct config *load(const char *text, size_t size, const struct rich **rich)
{
	struct config *config = config_open_text("fuzz", text, size);

	*rich = config_bind(config, "rich", rich_settings, sizeof(struct rich));
	if (*rich)
		rich_validate(*rich, config_errors(config));
	bind_strict(config);
	config_bind(config, "plain", NULL, 0);
	config_finish(config);
	for (size_t i = 0; config_error(config, i); i++) {
		if (!strcmp(config_error(config, i), "fuzz: not understood: write it more plainly"))
			abort(); /* the lexers do not agree */
	}
	return config;
}

static char *print(const struct config *config)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		abort();
	config_print(config, out);
	fclose(out);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct rich *rich, *rich_again;
	struct config *config = load((const char *)data, size, &rich), *again;
	char *text, *text_again;

	if (!config_error(config, 0)) {
		text = print(config);
		again = load(text, strlen(text), &rich_again);
		if (config_error(again, 0) || !settings_equal(rich_settings, rich, rich_again))
			abort();
		text_again = print(again);
		if (strcmp(text, text_again))
			abort();
		free(text_again);
		config_free(again);
		free(text);
	}
	config_free(config);
	return 0;
}
