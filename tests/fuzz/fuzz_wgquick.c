/* SPDX-License-Identifier: BSD-3-Clause */
/* Any bytes as a wg-quick configuration; what is accepted is printed too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "wgquick.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *psk_path(void *arg, const struct wgquick_peer *peer)
{
	return text_printf("/%02x.psk", peer->key.bytes[0]);
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
	if (wgquick_parse(&conf, (const char *)data, size) == 0)
		wgquick_print(out, &conf, "fuzz", &paths);
	else if (conf.n_notes == 0)
		abort(); /* refused without a reason */
	wgquick_free(&conf);
	fclose(out);
	free(text);
	return 0;
}
