/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "dns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "json_in.h"
#include "names.h"

static json_t *resolver(const char *addr)
{
	return json_pack("{ss}", "Addr", addr);
}

static json_t *resolvers(const struct setting_list *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->count; i++)
		json_array_append_new(array, resolver(((char **)list->items)[i]));
	return array;
}

/* An empty list says that clients answer themselves; null would be lost on its way through them. */
static json_t *split(const struct control_conf *conf)
{
	const struct control_split *splits = conf->dns.nameservers.split.items;
	json_t *routes = json_object();

	for (size_t i = 0; i < conf->dns.nameservers.split.count; i++)
		json_object_set_new(routes, splits[i].domain, resolvers(&splits[i].servers));
	if (conf->dns.magic_dns)
		json_object_set_new(routes, conf->dns.base_domain, json_array());
	return routes;
}

static json_t *domains(const struct control_conf *conf)
{
	json_t *array = json_array();

	if (conf->dns.magic_dns)
		json_array_append_new(array, json_string(conf->dns.base_domain));
	for (size_t i = 0; i < conf->dns.search_domains.count; i++)
		json_array_append_new(
			array, json_string(((char **)conf->dns.search_domains.items)[i]));
	return array;
}

static json_t *record(const char *name, const char *value)
{
	return json_pack("{ssss}", "Name", name, "Value", value);
}

static json_t *records(const struct control_conf *conf, const char *more)
{
	const struct control_record *own = conf->dns.extra_records.items;
	json_t *array = json_array(), *others = more ? json_loads(more, 0, NULL) : NULL;

	for (size_t i = 0; i < conf->dns.extra_records.count; i++)
		json_array_append_new(array, record(own[i].name, own[i].value));
	if (others)
		json_array_extend(array, others);
	json_decref(others);
	return array;
}

char *dns_config(const struct control_conf *conf, const char *more)
{
	bool override = conf->dns.override_local_dns;
	json_t *config = json_object();
	char *text;

	json_object_set_new(config, "Proxied", json_boolean(conf->dns.magic_dns));
	json_object_set_new(config, "Domains", domains(conf));
	json_object_set_new(config, override ? "Resolvers" : "FallbackResolvers",
		resolvers(&conf->dns.nameservers.global));
	json_object_set_new(config, "Routes", split(conf));
	json_object_set_new(config, "ExtraRecords", records(conf, more));
	text = json_in_text(config);
	json_decref(config);
	return text;
}

/* As clients get it, or NULL. */
static json_t *record_read(json_t *said)
{
	const char *name = json_string_value(json_object_get(said, "name"));
	const char *type = json_string_value(json_object_get(said, "type"));
	const char *value = json_string_value(json_object_get(said, "value"));
	struct net_addr addr;

	if (!name || !domain_name_valid(name) || !type || !value || net_addr_parse(&addr, value))
		return NULL;
	if (strcmp(type, addr.family == AF_INET ? "A" : "AAAA"))
		return NULL;
	return record(name, value);
}

char *dns_records_read(const char *text, size_t len, size_t *bad, struct err *err)
{
	json_error_t where;
	json_t *said = json_loadb(text, len, 0, &where), *array, *one;
	char *out = NULL;

	*bad = 0;
	if (!json_is_array(said)) {
		if (said)
			err_set(err, -EINVAL, "a JSON array is expected");
		else
			err_set(err, -EINVAL, "line %d: %s", where.line, where.text);
		json_decref(said);
		return NULL;
	}
	array = json_array();
	for (size_t i = 0; i < json_array_size(said); i++) {
		one = record_read(json_array_get(said, i));
		if (one)
			json_array_append_new(array, one);
		else
			++*bad;
	}
	out = json_in_text(array);
	json_decref(array);
	json_decref(said);
	return out;
}
