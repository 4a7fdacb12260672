/* SPDX-License-Identifier: BSD-3-Clause */
/* Maps of relays: what clients could not read never gets to them, and who wrote it is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "derp_map.h"

#define REGION(id, more, node)                                                                     \
	"\"" id "\":{\"RegionID\":" id ",\"RegionCode\":\"x\"" more ",\"Nodes\":[{\"Name\":\"a\"," \
	"\"HostName\":\"relay.test\"" node "}]}"
#define MAP(regions) "{\"Regions\":{" regions "}}"

/* What is made of `text`, and what is said of it. */
static json_t *merged(const char *text, struct err *err)
{
	json_t *regions = json_object();

	*err = (struct err){0};
	assert_int_equal(derp_map_merge(regions, text, strlen(text), err), 0);
	return regions;
}

static void test_whole(void **state)
{
	static const char text[] = MAP(REGION("7",
		",\"RegionName\":\"X\",\"Latitude\":1,\"Longitude\":2.5,\"Avoid\":false,"
		"\"NoMeasureNoHome\":true",
		",\"RegionID\":7,\"CertName\":\"c\",\"IPv4\":\"192.0.2.1\",\"IPv6\":\"none\","
		"\"STUNPort\":-1,\"STUNOnly\":false,\"DERPPort\":8443,\"InsecureForTests\":true,"
		"\"STUNTestIP\":\"192.0.2.2\",\"CanPort80\":true"));
	json_t *said = json_loads(text, 0, NULL);
	struct err err;
	json_t *regions = merged(text, &err);

	(void)state;
	assert_string_equal(err.msg, "");
	assert_true(json_equal(regions, json_object_get(said, "Regions")));
	json_decref(regions);
	json_decref(said);
}

/* Clients go by names in any case, and know no others. */
static void test_unknown(void **state)
{
	struct err err;
	json_t *regions =
		merged(MAP(REGION("7", ",\"regionname\":5,\"Nodes2\":[],\"Latitude\":null",
			       ",\"stunport\":\"3478\",\"More\":{}")),
			&err);
	json_t *want = json_loads(MAP(REGION("7", "", "")), 0, NULL);

	(void)state;
	assert_string_equal(err.msg, "");
	assert_true(json_equal(regions, json_object_get(want, "Regions")));
	json_decref(regions);
	json_decref(want);
}

static void test_wrong(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{REGION("7", "", ",\"STUNPort\":\"3478\""),
			"Nodes[0].STUNPort is not a port from 0 to 65535, or -1"},
		{REGION("7", "", ",\"STUNPort\":-2"), "Nodes[0].STUNPort is not a port"},
		{REGION("7", "", ",\"DERPPort\":70000"), "Nodes[0].DERPPort is not a port"},
		{REGION("7", "", "},{\"Name\":\"b\",\"HostName\":5"),
			"Nodes[1].HostName is not a string"},
		{REGION("7", "", "},{\"Name\":\"b\""), "a node has no Name or HostName"},
		{REGION("7", "", ",\"STUNOnly\":\"true\""),
			"Nodes[0].STUNOnly is not true or false"},
		{REGION("7", "", "},7,{"), "Nodes is not a list of objects"},
		{REGION("7", ",\"RegionName\":[]", ""), "RegionName is not a string"},
		{REGION("7", ",\"Latitude\":\"1\"", ""), "Latitude is not a number"},
		{"\"7\":5", "its key is not its RegionID"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char text[1024], why[256];
		struct err err;
		json_t *regions;

		snprintf(text, sizeof(text), MAP("%s," REGION("8", "", "")), cases[i].text);
		snprintf(why, sizeof(why), "region 7 is left out: %s", cases[i].why);
		regions = merged(text, &err);
		assert_memory_equal(err.msg, why, strlen(why));
		assert_int_equal(json_object_size(regions), 1);
		assert_non_null(json_object_get(regions, "8"));
		json_decref(regions);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
