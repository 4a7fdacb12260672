/* SPDX-License-Identifier: BSD-3-Clause */
/* Any bytes as a register request and as a map request: what is taken keeps within its bounds, and
 * what is kept of it can be read again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hostinfo.h"
#include "json_in.h"
#include "json_out.h"
#include "requests.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void require_json(const char *text, size_t max)
{
	json_t *value = json_loads(text, 0, NULL);

	require(value && strlen(text) <= max);
	json_decref(value);
}

static void hostinfo(const json_t *said)
{
	char *first = hostinfo_store(said, NULL), *again;
	struct hostinfo info;
	json_t *read;

	require(first && !hostinfo_read(&info, first));
	require_json(first, HOSTINFO_MAX);
	require_json(info.shown, HOSTINFO_SHOWN_MAX);
	require(info.n_routes <= HOSTINFO_ROUTES_MAX);
	for (size_t i = 1; i < info.n_routes; i++)
		require(prefix_compare(&info.routes[i - 1], &info.routes[i]) < 0);
	read = json_loads(first, 0, NULL);
	again = hostinfo_store(read, first);
	require(again && !strcmp(first, again));
	json_decref(read);
	hostinfo_fini(&info);
	free(first);
	free(again);
}

static void endpoints(const json_t *said)
{
	char *first = endpoints_store(said);

	require(first);
	require_json(first, ENDPOINTS_MAX * 80);
	require(endpoints_within(first, first));
	free(first);
}

/* What comes out of any string is JSON again. */
static void written(const char *text)
{
	struct json_out out = {0};
	json_t *value;

	json_out_string(&out, text);
	value = json_loadb(out.text, out.len, JSON_DECODE_ANY, NULL);
	require(json_is_string(value));
	json_decref(value);
	json_out_fini(&out);
}

/* Hostinfo is read apart from the rest: together they are what the body is when read at once. */
static void whole(const struct map_request *map, const uint8_t *data, size_t size)
{
	json_t *all = json_in_object(data, size, NULL);

	require(all && json_equal(all, map->object));
	json_decref(all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct register_request reg;
	struct map_request map;
	struct err err = {0};
	char *text = calloc(1, size + 1);

	if (text)
		memcpy(text, data, size);
	if (!register_request_parse(&reg, data, size, &err)) {
		hostinfo(reg.hostinfo);
		register_request_fini(&reg);
	} else {
		require(err.msg[0]);
	}
	if (!map_request_parse(&map, data, size, NULL)) {
		if (!map_request_hostinfo(&map, NULL)) {
			whole(&map, data, size);
			hostinfo(map.hostinfo);
		}
		endpoints(map.endpoints);
		map_request_fini(&map);
	}
	if (text)
		written(text);
	free(text);
	return 0;
}
