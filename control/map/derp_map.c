/* SPDX-License-Identifier: BSD-3-Clause */
/* Any thread. */
#include "derp_map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "json_in.h"
#include "shape.h"

static const struct shape node_members[] = {{"Name", SHAPE_STRING, NULL},
	{"RegionID", SHAPE_INT, NULL}, {"HostName", SHAPE_STRING, NULL},
	{"CertName", SHAPE_STRING, NULL}, {"IPv4", SHAPE_STRING, NULL},
	{"IPv6", SHAPE_STRING, NULL}, {"STUNPort", SHAPE_PORT_OR_OFF, NULL},
	{"STUNOnly", SHAPE_BOOL, NULL}, {"DERPPort", SHAPE_PORT, NULL},
	{"InsecureForTests", SHAPE_BOOL, NULL}, {"STUNTestIP", SHAPE_STRING, NULL},
	{"CanPort80", SHAPE_BOOL, NULL}, {0}};
static const struct shape region_members[] = {{"RegionID", SHAPE_INT, NULL},
	{"RegionCode", SHAPE_STRING, NULL}, {"RegionName", SHAPE_STRING, NULL},
	{"Latitude", SHAPE_NUMBER, NULL}, {"Longitude", SHAPE_NUMBER, NULL},
	{"Avoid", SHAPE_BOOL, NULL}, {"NoMeasureNoHome", SHAPE_BOOL, NULL},
	{"Nodes", SHAPE_OBJECTS, node_members}, {0}};

static bool node_usable(const json_t *node)
{
	const char *name = json_string_value(json_object_get(node, "Name"));
	const char *host = json_string_value(json_object_get(node, "HostName"));

	return name && *name && host && *host;
}

/* Why not; NULL: it is. */
static const char *region_unusable(const char *key, const json_t *region)
{
	const json_t *id = json_object_get(region, "RegionID");
	const json_t *nodes = json_object_get(region, "Nodes");

	if (!json_is_integer(id) || json_integer_value(id) < 1 || json_integer_value(id) > 65535 ||
		atoll(key) != json_integer_value(id))
		return "its key is not its RegionID";
	if (!json_is_string(json_object_get(region, "RegionCode")))
		return "it has no RegionCode";
	for (size_t i = 0; i < json_array_size(nodes); i++)
		if (!node_usable(json_array_get(nodes, i)))
			return "a node has no Name or HostName";
	return json_array_size(nodes) ? NULL : "it has no nodes";
}

/* Not half of it: what is left of one that says its ports wrongly leads somewhere else. */
static void region_merge(json_t *regions, const char *key, const json_t *said, struct err *err)
{
	struct err wrong = {0};
	json_t *region = shaped(said, region_members, &wrong);
	const char *why = wrong.msg[0] ? wrong.msg : region_unusable(key, region);

	if (why)
		err_set(err, 0, "region %.20s is left out: %s", key, why);
	else
		json_object_set(regions, key, region);
	json_decref(region);
}

int derp_map_merge(json_t *regions, const char *text, size_t len, struct err *err)
{
	json_error_t where;
	json_t *map = json_loadb(text, len, 0, &where), *of_map, *region;
	const char *key;

	of_map = json_object_get(map, "Regions");
	if (!json_is_object(of_map)) {
		err_set(err, -EINVAL, "%s", map ? "no object \"Regions\" in it" : where.text);
		json_decref(map);
		return -EINVAL;
	}
	json_object_foreach (of_map, key, region) {
		if (json_is_null(region))
			json_object_del(regions, key);
		else
			region_merge(regions, key, region, err);
	}
	json_decref(map);
	return 0;
}

char *derp_map_text(json_t *regions)
{
	json_t *map;
	char *text;

	if (!json_object_size(regions))
		return NULL;
	map = json_pack("{sOsb}", "Regions", regions, "omitDefaultRegions", 1);
	text = json_in_text(map);
	json_decref(map);
	return text;
}
