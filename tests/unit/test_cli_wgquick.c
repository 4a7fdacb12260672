/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each case is a wg-quick configuration NAME.conf; shown is what is said about it, and, unless it
 * is refused, the configuration that comes of it.
 */
#include "cases.h"
#include "wgquick.h"

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

static char *show(const char *path)
{
	struct err why = {0};
	size_t len;
	char *text = file_read(path, WGQUICK_SIZE_MAX, &len, &why), *shown;

	if (text == NULL)
		errx(1, "%s", why.msg);
	shown = import(text, len);
	free(text);
	return shown;
}

int main(int argc, char **argv)
{
	return cases_run(argc, argv, ".conf", show);
}
