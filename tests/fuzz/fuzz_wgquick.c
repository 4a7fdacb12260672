/* SPDX-License-Identifier: BSD-3-Clause */
/* Any bytes as a wg-quick configuration; what comes of one that is accepted must be readable. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "settings_parse.h"
#include "text.h"
#include "wgquick.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *psk_path(void *arg, const struct wgquick_peer *peer)
{
	return text_printf("/%02x.psk", peer->key.bytes[0]);
}

static void read_back(const char *text, size_t len)
{
	struct config *config = config_open_text("imported", text, len);
	const char *const *names;

	if (config_plugins(config, &names) != 1 || config_error(config, 0) != NULL) {
		config_print_errors(config, stderr);
		abort();
	}
	config_free(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct wgquick_paths paths = {"/key", psk_path};
	struct wgquick conf;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (out == NULL)
		abort();
	int rc = wgquick_parse(&conf, (const char *)data, size);

	if (rc == 0)
		wgquick_print(out, &conf, "fuzz", &paths);
	else if (conf.n_notes == 0)
		abort(); /* refused without a reason */
	wgquick_free(&conf);
	fclose(out);
	if (rc == 0)
		read_back(text, len);
	free(text);
	return 0;
}
