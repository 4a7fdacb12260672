/* SPDX-License-Identifier: BSD-3-Clause */
/* Any thread. */
#include "node.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define HTTPS_PORT 443
#define STUN_DEFAULT_PORT 3478

/* Empty where there is none. */
static const char *text_of(const json_t *json, const char *name)
{
	const char *text = json_string_value(json_object_get(json, name));

	return text ? text : "";
}

static bool is_named(const json_t *node, const char *name)
{
	return strcmp(text_of(node, "Name"), name) == 0 ||
	       strcasecmp(text_of(node, "HostName"), name) == 0;
}

static bool is_region(const json_t *region, const char *name)
{
	char number[32];

	snprintf(number, sizeof(number), "%lld",
		(long long)json_integer_value(json_object_get(region, "RegionID")));
	return strcmp(number, name) == 0 || strcasecmp(text_of(region, "RegionCode"), name) == 0;
}

const json_t *derp_node_find(const json_t *map, const char *name)
{
	json_t *region, *node;
	const char *key;
	size_t i;

	json_object_foreach (json_object_get(map, "Regions"), key, region) {
		bool any = is_region(region, name);

		json_array_foreach (json_object_get(region, "Nodes"), i, node) {
			if (is_named(node, name) ||
				(any && !json_is_true(json_object_get(node, "STUNOnly"))))
				return node;
		}
	}
	return NULL;
}

static int read_port(const json_t *json, const char *name, int none, struct err *err)
{
	json_int_t port = json_integer_value(json_object_get(json, name));

	if (port < -1 || port > 65535)
		return err_set(err, -EINVAL, "%s is not a port", name);
	return port ? (int)port : none;
}

/* "none": not that family. */
static int read_address(
	struct derp_target *target, const json_t *json, const char *name, struct err *err)
{
	const char *text = text_of(json, name);
	struct net_addr addr;

	if (!*text || strcmp(text, "none") == 0)
		return 0;
	if (net_addr_parse(&addr, text) != 0)
		return err_set(err, -EINVAL, "%s is not an address", name);
	derp_target_address(target, &addr);
	return 0;
}

static int read_names(struct derp_node *node, const json_t *json, struct err *err)
{
	const char *host = text_of(json, "HostName"), *cert = text_of(json, "CertName");
	struct derp_target *target = &node->target;
	char *at = node->name;

	snprintf(node->name, sizeof(node->name), "%s", text_of(json, "Name"));
	for (; *at; at++)
		*at = *at < ' ' || *at > '~' ? '?' : *at;
	if (!derp_host_valid(host))
		return err_set(err, -EINVAL, "HostName is not a name");
	if (*cert && !derp_cert_name_valid(cert))
		return err_set(err, -EINVAL, "CertName is not a name or " DERP_CERT_PIN);
	snprintf(target->host, sizeof(target->host), "%s", host);
	snprintf(target->cert_name, sizeof(target->cert_name), "%s", cert);
	return 0;
}

int derp_node_read(struct derp_node *node, const json_t *json, struct err *err)
{
	struct derp_target *target = &node->target;
	struct net_addr addr;
	int port, stun, rc;

	*node = (struct derp_node){0};
	rc = read_names(node, json, err);
	if (rc)
		return rc;
	port = read_port(json, "DERPPort", HTTPS_PORT, err);
	stun = read_port(json, "STUNPort", STUN_DEFAULT_PORT, err);
	if (port < 1 || stun < -1)
		return err_set(err, -EINVAL, "DERPPort is not a port");
	target->port = (uint16_t)port;
	node->stun_port = stun < 0 ? 0 : (uint16_t)stun;
	target->insecure = json_is_true(json_object_get(json, "InsecureForTests"));
	node->stun_only = json_is_true(json_object_get(json, "STUNOnly"));
	rc = read_address(target, json, "IPv4", err);
	if (!rc)
		rc = read_address(target, json, "IPv6", err);
	if (!rc && !target->n_addresses && net_addr_parse(&addr, target->host) == 0)
		derp_target_address(target, &addr);
	return rc;
}
