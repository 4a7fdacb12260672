/* SPDX-License-Identifier: BSD-3-Clause */
/* Protocol library. */
#include "hostinfo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "json_in.h"
#include "shape.h"

/* What others are shown. NetInfo and what means something to this server alone is not among it. */
static const struct shape service_members[] = {{"Proto", SHAPE_STRING, NULL},
	{"Port", SHAPE_PORT, NULL}, {"Description", SHAPE_STRING, NULL}, {0}};
static const struct shape location_members[] = {{"Country", SHAPE_STRING, NULL},
	{"CountryCode", SHAPE_STRING, NULL}, {"City", SHAPE_STRING, NULL},
	{"CityCode", SHAPE_STRING, NULL}, {"Latitude", SHAPE_NUMBER, NULL},
	{"Longitude", SHAPE_NUMBER, NULL}, {"Priority", SHAPE_INT, NULL}, {0}};
static const struct shape shown_members[] = {{"AllowsUpdate", SHAPE_BOOL, NULL},
	{"App", SHAPE_STRING, NULL}, {"AppConnector", SHAPE_BOOL, NULL},
	{"Cloud", SHAPE_STRING, NULL}, {"Container", SHAPE_BOOL, NULL},
	{"Desktop", SHAPE_BOOL, NULL}, {"DeviceModel", SHAPE_STRING, NULL},
	{"Distro", SHAPE_STRING, NULL}, {"DistroCodeName", SHAPE_STRING, NULL},
	{"DistroVersion", SHAPE_STRING, NULL}, {"Env", SHAPE_STRING, NULL},
	{"ExitNodeID", SHAPE_STRING, NULL}, {"GoArch", SHAPE_STRING, NULL},
	{"GoArchVar", SHAPE_STRING, NULL}, {"GoVersion", SHAPE_STRING, NULL},
	{"Hostname", SHAPE_STRING, NULL}, {"IPNVersion", SHAPE_STRING, NULL},
	{"IngressEnabled", SHAPE_BOOL, NULL}, {"Location", SHAPE_OBJECT, location_members},
	{"Machine", SHAPE_STRING, NULL}, {"NoLogsNoSupport", SHAPE_BOOL, NULL},
	{"OS", SHAPE_STRING, NULL}, {"OSVersion", SHAPE_STRING, NULL},
	{"Package", SHAPE_STRING, NULL}, {"PeerRelay", SHAPE_BOOL, NULL},
	{"RemoteConfig", SHAPE_BOOL, NULL}, {"Services", SHAPE_OBJECTS, service_members},
	{"ServicesHash", SHAPE_STRING, NULL}, {"ShareeNode", SHAPE_BOOL, NULL},
	{"ShieldsUp", SHAPE_BOOL, NULL}, {"StateEncrypted", SHAPE_BOOL, NULL},
	{"Userspace", SHAPE_BOOL, NULL}, {"UserspaceRouter", SHAPE_BOOL, NULL},
	{"WireIngress", SHAPE_BOOL, NULL}, {"WoLMACs", SHAPE_STRINGS, NULL},
	{"sshHostKeys", SHAPE_STRINGS, NULL}, {0}};

/* What remains of one that is too long. */
static const char *const core_members[] = {"Hostname", "OS", "OSVersion", "IPNVersion", "Services",
	"NetInfo", "RoutableIPs", "RequestTags", NULL};
static const char *const least_members[] = {"Hostname", "OS", NULL};

static json_t *only(json_t *info, const char *const *names)
{
	json_t *out = json_object();

	for (; *names; names++) {
		json_t *value = json_object_get(info, *names);

		if (value)
			json_object_set(out, *names, value);
	}
	return out;
}

/* The text of `info`, with fewer members while it is too long. */
static char *text_within(json_t *info, size_t max)
{
	static const char *const *const steps[] = {core_members, least_members};
	char *text = json_in_text(info);

	for (size_t i = 0; text && strlen(text) > max && i < 2; i++) {
		json_t *less = only(info, steps[i]);

		free(text);
		text = json_in_text(less);
		json_decref(less);
	}
	if (text && strlen(text) > max) {
		free(text);
		text = strdup("{}");
	}
	return text;
}

static void net_info_keep(json_t *info, const char *before)
{
	json_t *now = json_object_get(info, "NetInfo"),
	       *old = before ? json_loads(before, 0, NULL) : NULL;
	json_t *was = json_object_get(old, "NetInfo");

	if (json_is_object(was) && !json_is_object(now))
		json_object_set(info, "NetInfo", was);
	else if (json_is_object(was) &&
		 !json_integer_value(json_object_get(now, "PreferredDERP")) &&
		 json_is_integer(json_object_get(was, "PreferredDERP"))) {
		now = json_copy(now); /* `info` shares it with the request */
		json_object_set(now, "PreferredDERP", json_object_get(was, "PreferredDERP"));
		json_object_set_new(info, "NetInfo", now);
	}
	json_decref(old);
}

char *hostinfo_store(const json_t *info, const char *before)
{
	json_t *own;
	char *text;

	if (!json_is_object(info))
		return strdup(before ? before : "{}");
	own = json_copy((json_t *)info);
	if (!own)
		return NULL;
	net_info_keep(own, before);
	text = text_within(own, HOSTINFO_MAX);
	json_decref(own);
	return text;
}

static char *string_of(json_t *info, const char *name)
{
	const char *text = json_string_value(json_object_get(info, name));

	return strdup(text ? text : "");
}

static int tags_read(struct hostinfo *out, json_t *array)
{
	size_t i;
	json_t *tag;

	if (!json_is_array(array) || !json_array_size(array))
		return 0;
	out->tags = calloc(json_array_size(array), sizeof(*out->tags));
	if (!out->tags)
		return -ENOMEM;
	json_array_foreach (array, i, tag) {
		if (!json_is_string(tag))
			continue;
		out->tags[out->n_tags] = strdup(json_string_value(tag));
		if (!out->tags[out->n_tags])
			return -ENOMEM;
		out->n_tags++;
	}
	return 0;
}

static char *shown_text(const json_t *info)
{
	json_t *shown = shaped(info, shown_members, NULL);
	char *text = text_within(shown, HOSTINFO_SHOWN_MAX);

	json_decref(shown);
	return text;
}

/* Latencies change with each measurement and mean nothing to anybody else. */
static int steady_hash(json_t *info, uint8_t hash[static 16])
{
	json_t *copy = json_copy(info), *net = json_copy(json_object_get(info, "NetInfo"));
	char *text;

	json_object_del(net, "DERPLatency");
	if (net)
		json_object_set_new(copy, "NetInfo", net);
	text = json_in_text(copy);
	json_decref(copy);
	if (!text)
		return -ENOMEM;
	crypto_generichash(hash, 16, (const uint8_t *)text, strlen(text), NULL, 0);
	free(text);
	return 0;
}

int hostinfo_read(struct hostinfo *out, const char *stored)
{
	json_t *info = json_loads(stored, 0, NULL), *derp;
	int rc;

	*out = (struct hostinfo){0};
	if (!json_is_object(info)) {
		json_decref(info);
		return -EINVAL;
	}
	derp = json_object_get(json_object_get(info, "NetInfo"), "PreferredDERP");
	if (json_integer_value(derp) > 0 && json_integer_value(derp) <= 65535)
		out->home_derp = (unsigned)json_integer_value(derp);
	out->hostname = string_of(info, "Hostname");
	out->os = string_of(info, "OS");
	out->shown = shown_text(info);
	rc = steady_hash(info, out->steady);
	if (!rc)
		rc = prefixes_read(json_object_get(info, "RoutableIPs"), &out->routes,
			&out->n_routes, HOSTINFO_ROUTES_MAX, NULL);
	if (!rc)
		rc = tags_read(out, json_object_get(info, "RequestTags"));
	if (!rc && (!out->hostname || !out->os || !out->shown))
		rc = -ENOMEM;
	json_decref(info);
	if (rc)
		hostinfo_fini(out);
	return rc;
}

void hostinfo_fini(struct hostinfo *info)
{
	for (size_t i = 0; i < info->n_tags; i++)
		free(info->tags[i]);
	free(info->tags);
	free(info->routes);
	free(info->hostname);
	free(info->os);
	free(info->shown);
	*info = (struct hostinfo){0};
}

static bool endpoint_usable(const json_t *value, char text[static NET_ENDPOINT_STRLEN])
{
	struct net_endpoint ep;

	if (!json_is_string(value) || strchr(json_string_value(value), '%') ||
		net_endpoint_parse(&ep, json_string_value(value)) || !ep.port)
		return false;
	if (ep.addr.family == AF_INET6 && ep.addr.bytes[0] == 0xfe &&
		(ep.addr.bytes[1] & 0xc0) == 0x80)
		return false;
	net_endpoint_format(&ep, text);
	return true;
}

char *endpoints_store(const json_t *array)
{
	json_t *out = json_array();
	char *text, ep[NET_ENDPOINT_STRLEN];

	for (size_t i = 0; i < json_array_size(array) && json_array_size(out) < ENDPOINTS_MAX; i++)
		if (endpoint_usable(json_array_get(array, i), ep))
			json_array_append_new(out, json_string(ep));
	text = json_in_text(out);
	json_decref(out);
	return text;
}

bool endpoints_within(const char *some, const char *all)
{
	/* each is between quotes and none holds a quote: a search for the quoted text is exact */
	for (const char *at = strchr(some, '"'); at; at = strchr(at, '"')) {
		const char *end = strchr(at + 1, '"');
		char quoted[NET_ENDPOINT_STRLEN + 2];
		size_t len = end ? (size_t)(end + 1 - at) : 0;

		if (!len || len >= sizeof(quoted))
			return false;
		memcpy(quoted, at, len);
		quoted[len] = 0;
		if (!strstr(all, quoted))
			return false;
		at = end + 1;
	}
	return true;
}

int prefix_compare(const struct net_prefix *a, const struct net_prefix *b)
{
	int order;

	if (a->addr.family != b->addr.family)
		return a->addr.family == AF_INET ? -1 : 1;
	order = memcmp(a->addr.bytes, b->addr.bytes, sizeof(a->addr.bytes));
	return order ? order : (int)a->len - (int)b->len;
}

static int compare(const void *a, const void *b)
{
	return prefix_compare(a, b);
}

int prefixes_read(
	const json_t *array, struct net_prefix **prefixes, size_t *n, size_t max, size_t *bad)
{
	size_t size = json_array_size(array), i, kept = 0;

	*prefixes = NULL;
	*n = 0;
	if (bad)
		*bad = 0;
	if (!size)
		return 0;
	*prefixes = calloc(size, sizeof(**prefixes));
	if (!*prefixes)
		return -ENOMEM;
	for (i = 0; i < size && *n < max; i++) {
		const char *text = json_string_value(json_array_get(array, i));
		struct net_prefix prefix;

		if (text && !net_prefix_parse(&prefix, text))
			(*prefixes)[(*n)++] = net_prefix_masked(&prefix);
		else if (bad)
			++*bad;
	}
	qsort(*prefixes, *n, sizeof(**prefixes), compare);
	for (i = 0; i < *n; i++)
		if (!kept || prefix_compare(&(*prefixes)[kept - 1], &(*prefixes)[i]))
			(*prefixes)[kept++] = (*prefixes)[i];
	*n = kept;
	return 0;
}

bool prefix_is_exit(const struct net_prefix *prefix)
{
	return !prefix->len;
}
