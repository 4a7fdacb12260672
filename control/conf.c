/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop, before it runs. */
#include "conf.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "names.h"

#define AT(field) offsetof(struct control_conf, field)
#define IN(group, field) (AT(group.field) - AT(group))
#define GROUP(name, table, text)                                                        \
	{                                                                               \
#name, SETTING_GROUP, 0, AT(name),                                      \
			.sub = table, .size = sizeof(((struct control_conf *)0)->name), \
			.help = text                                                    \
	}
#define SECOND 1000000000ll

static const struct setting noise[] = {
	{"private_key_path", SETTING_SECRET_FILE, 0, IN(noise, private_key_path),
		.def = "noise_private.key",
		.help = "The server's key of the control protocol; made when it is not there. A "
			"backup "
			"holds it if it lies in the state directory itself. With "
			"another one clients must fetch it anew before they connect again."},
	{0},
};

static const char *const allocations[] = {"sequential", "random", NULL};
static const struct setting prefixes[] = {
	{"v4", SETTING_PREFIX, SETTING_OR_NONE, IN(prefixes, v4), .def = "100.64.0.0/10",
		.help = "Where nodes get their IPv4 addresses from; within 100.64.0.0/10, which "
			"clients have built in. \"\": none; what nodes have goes with `tailplane "
			"nodes "
			"backfillips`."},
	{"v6", SETTING_PREFIX, SETTING_OR_NONE, IN(prefixes, v6), .def = "fd7a:115c:a1e0::/48",
		.help = "The same for IPv6; within fd7a:115c:a1e0::/48."},
	{"allocation", SETTING_ENUM, 0, IN(prefixes, allocation), .def = "sequential",
		.choices = allocations, .help = "One after the other, or at random."},
	{0},
};

static const struct setting derp_server[] = {
	{"enabled", SETTING_BOOL, 0, IN(derp.server, enabled), .def = "true",
		.help = "Works together with the relay in this process, if plugin derp is loaded: "
			"tells it which nodes there are, and clients where it is. Its region, "
			"addresses and key are settings of derp."},
	{"automatically_add_embedded_derp_region", SETTING_BOOL, 0,
		IN(derp.server, automatically_add_embedded_derp_region), .def = "true",
		.help = "Adds its region to the map. Without it only a map in paths sends clients "
			"there."},
	{0},
};
static const struct setting derp[] = {
	{"urls", SETTING_STRING, SETTING_LIST, IN(derp, urls),
		.help = "Where maps of relays are fetched from. With neither urls nor paths, nor a "
			"relay of our own: https://controlplane.tailscale.com/derpmap/default, the "
			"public one. A client comes up only with a relay in its map."},
	{"paths", SETTING_PATH, SETTING_LIST, IN(derp, paths),
		.help = "Files with maps of relays, in JSON (Regions as the control protocol has "
			"them); a region in a later one replaces one of the same number, null "
			"removes it. One with a member of a wrong kind, which clients could not "
			"read, is left out and named in the log."},
	{"auto_update_enabled", SETTING_BOOL, 0, IN(derp, auto_update_enabled), .def = "true",
		.help = "Fetches urls and reads paths again."},
	{"update_frequency", SETTING_DURATION, 0, IN(derp, update_frequency), .def = "3h",
		.min = 10 * SECOND, .max = 30ll * 86400 * SECOND, .help = "How often."},
	{"server", SETTING_GROUP, 0, IN(derp, server), .sub = derp_server,
		.size = sizeof(((struct control_conf *)0)->derp.server),
		.help = "The relay in this process."},
	{0},
};

static const struct setting split[] = {
	{"domain", SETTING_STRING, SETTING_REQUIRED, offsetof(struct control_split, domain),
		.help = "Names that end in this."},
	{"servers", SETTING_STRING, SETTING_LIST, offsetof(struct control_split, servers),
		.help = "Resolvers for them."},
	{0},
};
static const struct setting nameservers[] = {
	{"global", SETTING_STRING, SETTING_LIST, IN(dns.nameservers, global),
		.help = "Resolvers for all names that are not the tailnet's: addresses, or "
			"https://… of a provider that clients know."},
	{"split", SETTING_GROUP, SETTING_LIST, IN(dns.nameservers, split), .sub = split,
		.size = sizeof(struct control_split), .help = "Resolvers for some domains."},
	{0},
};
static const struct setting records[] = {
	{"name", SETTING_STRING, SETTING_REQUIRED, offsetof(struct control_record, name),
		.help = "Full name, without a dot at the end."},
	{"type", SETTING_STRING, 0, offsetof(struct control_record, type), .def = "A",
		.help = "A or AAAA."},
	{"value", SETTING_STRING, SETTING_REQUIRED, offsetof(struct control_record, value),
		.help = "The address."},
	{0},
};
static const struct setting dns[] = {
	{"magic_dns", SETTING_BOOL, 0, IN(dns, magic_dns), .def = "true",
		.help = "Clients resolve the names of nodes."},
	{"base_domain", SETTING_STRING, 0, IN(dns, base_domain), .def = "tail.internal",
		.help = "Domain of the nodes' names: HOST.base_domain. Not the name of the server "
			"itself, nor a domain above it."},
	{"override_local_dns", SETTING_BOOL, 0, IN(dns, override_local_dns), .def = "true",
		.help = "nameservers.global take the place of what the client's network offers. "
			"Without any such resolver it means nothing."},
	{"nameservers", SETTING_GROUP, 0, IN(dns, nameservers), .sub = nameservers,
		.size = sizeof(((struct control_conf *)0)->dns.nameservers),
		.help = "Resolvers that clients use."},
	{"search_domains", SETTING_STRING, SETTING_LIST, IN(dns, search_domains),
		.help = "Domains that are tried behind short names, after base_domain."},
	{"extra_records", SETTING_GROUP, SETTING_LIST, IN(dns, extra_records), .sub = records,
		.size = sizeof(struct control_record),
		.help = "Names that clients answer themselves."},
	{"extra_records_path", SETTING_PATH, 0, IN(dns, extra_records_path),
		.help = "A file with more of them, a JSON array of {\"name\", \"type\", "
			"\"value\"}; read "
			"again when it changes."},
	{0},
};

static const struct setting ephemeral[] = {
	{"inactivity_timeout", SETTING_DURATION, 0, IN(node.ephemeral, inactivity_timeout),
		.def = "30m", .min = SECOND, .max = 365ll * 86400 * SECOND,
		.help = "How long after it was last online an ephemeral node is deleted."},
	{0},
};
static const struct setting ha[] = {
	{"probe_interval", SETTING_DURATION, 0, IN(node.routes.ha, probe_interval), .def = "4s",
		.max = 3600 * SECOND,
		.help = "How often nodes that share a subnet are asked whether they live. 0s: "
			"never; "
			"then only the end of a connection moves a subnet to another node."},
	{"probe_timeout", SETTING_DURATION, 0, IN(node.routes.ha, probe_timeout), .def = "3s",
		.min = SECOND / 10, .max = 60 * SECOND, .help = "How long an answer may take."},
	{0},
};
static const struct setting routes[] = {
	{"ha", SETTING_GROUP, 0, IN(node.routes, ha), .sub = ha,
		.size = sizeof(((struct control_conf *)0)->node.routes.ha),
		.help = "Subnets that several nodes serve."},
	{0},
};
static const struct setting node[] = {
	{"expiry", SETTING_DURATION, 0, IN(node, expiry), .def = "0s",
		.help = "How long after a login a node's key is good; 0s: for ever. Tagged nodes' "
			"keys never expire."},
	{"approval", SETTING_BOOL, 0, IN(node, approval), .def = "false",
		.help = "New nodes wait for `tailplane nodes approve` before others see them; "
			"those "
			"that `auth register` let in do not."},
	{"ephemeral", SETTING_GROUP, 0, IN(node, ephemeral), .sub = ephemeral,
		.size = sizeof(((struct control_conf *)0)->node.ephemeral),
		.help = "Nodes that go when they are gone."},
	{"routes", SETTING_GROUP, 0, IN(node, routes), .sub = routes,
		.size = sizeof(((struct control_conf *)0)->node.routes), .help = "Subnets."},
	{0},
};

static const struct setting taildrop[] = {
	{"enabled", SETTING_BOOL, 0, 0, .def = "true", .help = "Nodes may send each other files."},
	{0},
};
static const struct setting auto_update[] = {
	{"enabled", SETTING_BOOL, 0, 0, .def = "false",
		.help = "Clients that have no choice of their own update themselves."},
	{0},
};
static const struct setting logtail[] = {
	{"enabled", SETTING_BOOL, 0, 0, .def = "false",
		.help = "Clients may send their logs to the maker of the client."},
	{0},
};
static const struct setting preauth_keys[] = {
	{"revoked_retention", SETTING_DURATION, 0, IN(preauth_keys, revoked_retention),
		.def = "168h", .max = 3650ll * 86400 * SECOND,
		.help = "How long after `tailplane preauthkeys expire` a key is listed before it "
			"is deleted; 0s: for ever. Nodes that came with it stay."},
	{0},
};
static const struct setting tuning[] = {
	{"register_cache_expiration", SETTING_DURATION, 0, IN(tuning, register_cache_expiration),
		.def = "15m", .min = 10 * SECOND, .max = 86400 * SECOND,
		.help = "How long a registration waits for a person."},
	{"register_cache_max_entries", SETTING_INT, 0, IN(tuning, register_cache_max_entries),
		.def = "1024", .min = 1, .max = 1000000,
		.help = "How many wait at most; then the oldest leaves."},
	{0},
};

const struct setting control_settings[] = {
	{"server_url", SETTING_STRING, 0, AT(server_url),
		.help = "The address that clients use, as in https://vpn.example.com. Without it: "
			"this machine's address towards the internet and the port of "
			"core.http.listen_addr."},
	{"first_key", SETTING_BOOL, 0, AT(first_key), .def = "true",
		.help = "At the first start makes a user and a key, and prints the line for "
			"clients."},
	GROUP(noise, noise, "The control protocol's own key."),
	GROUP(prefixes, prefixes, "Addresses of nodes."),
	GROUP(derp, derp, "Relays."),
	GROUP(dns, dns, "Names."),
	GROUP(node, node, "What holds for each node."),
	GROUP(preauth_keys, preauth_keys, "Keys that nodes join with."),
	GROUP(taildrop, taildrop, "Files between nodes."),
	GROUP(auto_update, auto_update, "Updates of clients."),
	GROUP(logtail, logtail, "Logs of clients."),
	GROUP(tuning, tuning, "Limits that rarely matter."),
	{0},
};

/* ---- between fields ------------------------------------------------------------------------ */

static bool within(const struct net_prefix *prefix, const char *range)
{
	struct net_prefix outer;

	net_prefix_parse(&outer, range);
	if (!prefix->addr.family)
		return true;
	return prefix->len >= outer.len && net_prefix_contains(&outer, &prefix->addr);
}

static bool domain_valid(const char *domain)
{
	char label[LABEL_SIZE];
	size_t len = strlen(domain);

	if (!len || len > 190)
		return false;
	for (;;) {
		size_t n = strcspn(domain, ".");

		if (n >= sizeof(label))
			return false;
		memcpy(label, domain, n);
		label[n] = 0;
		if (!label_valid(label))
			return false;
		if (!domain[n])
			return true;
		domain += n + 1;
	}
}

/* Is it that domain, or a name in it? */
static bool in_domain(const char *name, size_t len, const char *domain)
{
	size_t n = strlen(domain);

	return len >= n && !strncasecmp(name + len - n, domain, n) &&
	       (len == n || name[len - n - 1] == '.');
}

static void check_url(const struct control_conf *conf, struct setting_errors *errs)
{
	const char *url = conf->server_url, *host;

	if (!url)
		return;
	host = strstr(url, "://");
	if (!host || (strncmp(url, "http:", 5) && strncmp(url, "https:", 6)) || !host[3] ||
		strpbrk(host + 3, "/?# \""))
		setting_error(errs, &conf->server_url,
			"server_url is http:// or https:// with a host, and a port if it is not "
			"the "
			"usual one: \"https://vpn.example.com\"");
	else if (conf->dns.base_domain &&
		 in_domain(host + 3, strcspn(host + 3, ":"), conf->dns.base_domain))
		setting_error(errs, &conf->dns.base_domain,
			"the server's own name lies in base_domain: clients would look for the "
			"server among their nodes; choose another domain");
}

/* ---- names and resolvers for clients ------------------------------------------------------- */

static void check_name(char *const *name, const char *what, struct setting_errors *errs)
{
	if (!domain_name_valid(*name))
		setting_error(errs, name,
			"%s is a name in lower case, without a dot at the end, not \"%s\"", what,
			*name);
}

static void check_resolvers(const struct setting_list *list, struct setting_errors *errs)
{
	const char *const *texts = list->items;

	for (size_t i = 0; i < list->count; i++) {
		struct net_endpoint ep;
		struct net_addr addr;

		if (net_addr_parse(&addr, texts[i]) && net_endpoint_parse(&ep, texts[i]) &&
			strncmp(texts[i], "https://", 8) && strncmp(texts[i], "http://", 7))
			setting_error(errs, &texts[i],
				"a resolver is an address, as in 9.9.9.9, or https://..., not "
				"\"%s\"",
				texts[i]);
	}
}

static void check_dns(const struct control_conf *conf, struct setting_errors *errs)
{
	const struct control_split *splits = conf->dns.nameservers.split.items;
	char *const *domains = conf->dns.search_domains.items;

	check_resolvers(&conf->dns.nameservers.global, errs);
	for (size_t i = 0; i < conf->dns.nameservers.split.count; i++) {
		check_name(&splits[i].domain, "domain", errs);
		check_resolvers(&splits[i].servers, errs);
	}
	for (size_t i = 0; i < conf->dns.search_domains.count; i++)
		check_name(&domains[i], "a search domain", errs);
}

static void check_records(const struct control_conf *conf, struct setting_errors *errs)
{
	const struct control_record *records_now = conf->dns.extra_records.items;

	for (size_t i = 0; i < conf->dns.extra_records.count; i++) {
		const struct control_record *r = &records_now[i];
		struct net_addr addr;
		int family = !strcmp(r->type, "AAAA") ? AF_INET6 : AF_INET;

		check_name(&r->name, "name", errs);
		if (strcmp(r->type, "A") && strcmp(r->type, "AAAA"))
			setting_error(errs, &r->type, "type is A or AAAA: clients know no others");
		else if (net_addr_parse(&addr, r->value) || addr.family != family)
			setting_error(errs, &r->value, "an %s record has an IPv%d address", r->type,
				family == AF_INET ? 4 : 6);
	}
}

void control_validate(const void *settings, struct setting_errors *errs)
{
	const struct control_conf *conf = settings;

	if (!within(&conf->prefixes.v4, "100.64.0.0/10"))
		setting_error(
			errs, &conf->prefixes.v4, "prefixes.v4 must lie within 100.64.0.0/10");
	if (!within(&conf->prefixes.v6, "fd7a:115c:a1e0::/48"))
		setting_error(errs, &conf->prefixes.v6,
			"prefixes.v6 must lie within fd7a:115c:a1e0::/48");
	if (!conf->prefixes.v4.addr.family && !conf->prefixes.v6.addr.family)
		setting_error(errs, &conf->prefixes, "one of v4 and v6 is needed");
	if (!domain_valid(conf->dns.base_domain))
		setting_error(errs, &conf->dns.base_domain,
			"base_domain is a domain in lower case, without a dot at the end");
	check_url(conf, errs);
	check_dns(conf, errs);
	check_records(conf, errs);
}
