/* SPDX-License-Identifier: BSD-3-Clause */
/* Any text as a host name, time, key, map of relays or list of records: names come out as labels,
 * and what is read prints back to it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "authkey.h"
#include "derp_map.h"
#include "dns.h"
#include "key_text.h"
#include "names.h"
#include "times.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void names(const char *text)
{
	char label[LABEL_SIZE], numbered[LABEL_SIZE];

	label_from_hostname(label, text);
	require(label_valid(label));
	label_with_number(numbered, label, 4294967295u);
	require(label_valid(numbered));
	(void)tag_valid(text);
	(void)auth_id_valid(text);
}

static void times(const char *text)
{
	char printed[TIME_TEXT_SIZE];
	int64_t first, again;

	if (!time_text_parse(&first, text, strlen(text)))
		return;
	time_text_format(printed, first);
	require(time_text_parse(&again, printed, strlen(printed)) && first == again);
}

static void keys(const char *text)
{
	char printed[KEY_TEXT_SIZE];
	struct public_key first, again;
	struct authkey auth;

	(void)authkey_parse(&auth, AUTHKEY_AUTH, text);
	if (!key_text_parse(&first, KEY_TEXT_NODE, text, strlen(text)))
		return;
	key_text_format(printed, KEY_TEXT_NODE, &first);
	require(key_text_parse(&again, KEY_TEXT_NODE, printed, strlen(printed)) &&
		!memcmp(&first, &again, sizeof(first)));
}

static void files(const char *text, size_t size)
{
	json_t *regions = json_object();
	struct err err = {0};
	size_t bad;
	char *made;

	derp_map_merge(regions, text, size, &err);
	made = derp_map_text(regions);
	require(!made == !json_object_size(regions));
	json_decref(regions);
	regions = json_object();
	if (made) /* what was taken is taken again, whole */
		require(!derp_map_merge(regions, made, strlen(made), NULL));
	free(made);
	json_decref(regions);
	free(dns_records_read(text, size, &bad, &err));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = calloc(1, size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	names(text);
	times(text);
	keys(text);
	files((const char *)data, size);
	free(text);
	return 0;
}
