/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop, before it runs. */
#include "derp_conf.h"

#include <stddef.h>
#include <string.h>

#include "certificate.h"
#include "stun_server.h"

#define AT(field) offsetof(struct derp_conf, field)
#define IN(group, field) (AT(group.field) - AT(group))
#define SECOND 1000000000ll
#define MINUTE (60 * SECOND)

static const struct setting limits[] = {
	{"client_rate", SETTING_RATE, 0, IN(limits, client_rate),
		.help = "What one client may send; more waits, so that TCP slows it down. 0: no "
			"limit."},
	{"client_burst", SETTING_SIZE, 0, IN(limits, client_burst),
		.help = "What it may send at once beyond that; at least one packet of 64 KiB."},
	{"accept_rate", SETTING_INT, 0, IN(limits, accept_rate), .max = 1000000,
		.unit = "connections a second",
		.help = "New connections of all clients; more are closed at once, and come back "
			"later. 0: no limit."},
	{"accept_burst", SETTING_INT, 0, IN(limits, accept_burst), .max = 10000000,
		.unit = "connections",
		.help = "How many at once beyond that; 0: those of a second."},
	{"connections", SETTING_INT, 0, IN(limits, connections), .max = 100000000,
		.help = "Connections at the same time. 0: as many as there are descriptors."},
	{"connections_per_address", SETTING_INT, 0, IN(limits, connections_per_address),
		.max = 100000000,
		.help = "Of one address; behind a proxy of core.http.trusted_proxies, the "
			"client's. Many may share one behind a NAT. 0: no limit."},
	{"memory", SETTING_SIZE, 0, IN(limits, memory),
		.help = "What connections (3 KiB each with TLS) and their queues take together, "
			"the same share for each of core.io_loops: beyond it new connections are "
			"refused and packets that would wait are dropped. An eighth of it is kept "
			"for what clients are in the middle of sending. 0: no limit."},
	{"write_timeout", SETTING_DURATION, 0, IN(limits, write_timeout), .def = "2s",
		.min = SECOND / 10, .max = 10 * MINUTE,
		.help = "A client that takes nothing for so long is disconnected; other nodes of "
			"the region have 30 seconds."},
	{0},
};

const struct setting derp_settings[] = {
	{"private_key_path", SETTING_SECRET_FILE, 0, AT(private_key_path), .def = "derp.key",
		.help = "The relay's key, made when it is not there; that of a derper "
			"(derper.key) will do."},
	{"hostname", SETTING_STRING, 0, AT(hostname),
		.help = "The name or address of this relay in maps; its certificate must be for "
			"it. Without it: the control server's in the same process, else this "
			"machine's address towards the internet."},
	{"region_id", SETTING_INT, 0, AT(region_id), .def = "999", .min = 1, .max = 65535,
		.help = "Number of the region in maps; 900 to 999 are free for private relays."},
	{"region_code", SETTING_STRING, 0, AT(region_code), .def = "tailplane",
		.help = "Its short name, which clients show as \"relay\"."},
	{"region_name", SETTING_STRING, 0, AT(region_name), .def = "Tailplane",
		.help = "Its name for people."},
	{"ipv4", SETTING_ADDRESS, 0, AT(ipv4),
		.help = "The relay's IPv4 address, which spares clients the look-up of hostname, "
			"and lets them ask there for captive portals."},
	{"ipv6", SETTING_ADDRESS, 0, AT(ipv6), .help = "The same for IPv6."},
	{"advertised_port", SETTING_INT, 0, AT(advertised_port), .max = 65535,
		.help = "The TCP port in maps, where it is not the one that is listened on: that "
			"of a proxy which speaks TLS for us. 0: as it is."},
	{"stun_listen_addr", SETTING_STRING, 0, AT(stun_listen_addr), .def = ":3478",
		.help = "Address and UDP port of the STUN server, by which clients learn their "
			"own address and measure how far the relay is; \":3478\" is both "
			"families, \"\" none. It is silent while the relay itself cannot be used. "
			"On Ethernet ports of the data plane that have a mirror, workers "
			"answer."},
	{"tls_listen_addr", SETTING_STRING, SETTING_LIST, AT(tls_listen_addr),
		.help = "Addresses with a TCP port on which the relay speaks TLS with a "
			"certificate that it signs itself and that maps tell by its hash; for "
			"where core.http has none, as relays are always TLS. Clients since 1.82 "
			"know this. Ports above 1023 only."},
	{"verify_clients", SETTING_BOOL, 0, AT(verify_clients), .def = "true",
		.help = "Serves only nodes of the control server in the same process, where "
			"plugin control is loaded, and whom verify_client_file or "
			"verify_client_url knows. With none of the three anybody may use the "
			"relay."},
	{"verify_client_url", SETTING_STRING, 0, AT(verify_client_url),
		.help = "Asks this URL for each client, as derper does: the /verify of a control "
			"server elsewhere, Headscale's too. The answer is awaited for 5 seconds."},
	{"verify_client_url_fail_open", SETTING_BOOL, 0, AT(verify_client_url_fail_open),
		.def = "false",
		.help = "When nobody answers there, serves clients all the same. Otherwise only "
			"those that were known within verify_grace."},
	{"verify_client_file", SETTING_PATH, 0, AT(verify_client_file),
		.help = "A file of node keys (\"nodekey:\" and hex digits, one a line, # for "
			"comments) that are served. Looked at when it changes; whose key is gone "
			"from it is disconnected."},
	{"verify_grace", SETTING_DURATION, 0, AT(verify_grace), .def = "1h",
		.max = 7 * 86400 * SECOND,
		.help = "How long a client that was let in stays welcome while who knows it does "
			"not answer."},
	{"verify_again", SETTING_DURATION, 0, AT(verify_again), .def = "5m", .max = 86400 * SECOND,
		.help = "How often verify_client_url, or the control server in the same process, "
			"is asked again for clients that are connected; who is no longer known is "
			"disconnected. 0: never."},
	{"bootstrap_dns_names", SETTING_STRING, SETTING_LIST, AT(bootstrap_dns_names),
		.help = "Names whose addresses /bootstrap-dns tells clients that cannot resolve "
			"them: the control server's. They are looked up every 10 minutes."},
	{"drain", SETTING_DURATION, 0, AT(drain), .def = "5s", .max = 10 * MINUTE,
		.help = "Over how much time `derp drain` and `restart` close connections, so that "
			"not all clients come back at once."},
	{"mesh", SETTING_GROUP, 0, AT(mesh), .sub = derp_mesh_settings,
		.size = sizeof(struct derp_mesh_conf),
		.help = "The nodes of the region: each passes on what is for clients of the "
			"others."},
	{"limits", SETTING_GROUP, 0, AT(limits), .sub = limits,
		.size = sizeof(((struct derp_conf *)0)->limits), .help = "What clients may take."},
	{0},
};

static void check_url(const struct derp_conf *conf, struct setting_errors *errs)
{
	const char *url = conf->verify_client_url;

	if (url && strncmp(url, "https://", 8) && strncmp(url, "http://", 7))
		setting_error(errs, &conf->verify_client_url,
			"\"%s\" is no URL as \"https://control.example.com/verify\" is", url);
}

static void check_addresses(const struct derp_conf *conf, struct setting_errors *errs)
{
	char *const *items = conf->tls_listen_addr.items;

	if (*conf->stun_listen_addr && stun_address_check(conf->stun_listen_addr))
		setting_error(errs, &conf->stun_listen_addr,
			"\"%s\" is not an address with a port, as \":3478\" is; \"\" is for none",
			conf->stun_listen_addr);
	for (size_t i = 0; i < conf->tls_listen_addr.count; i++)
		if (stun_address_check(items[i]))
			setting_error(errs, &items[i],
				"\"%s\" is not an address with a port, as \":8443\" is", items[i]);
	if (conf->ipv4.family && conf->ipv4.family != AF_INET)
		setting_error(errs, &conf->ipv4, "this is no IPv4 address");
	if (conf->ipv6.family && conf->ipv6.family != AF_INET6)
		setting_error(errs, &conf->ipv6, "this is no IPv6 address");
}

static bool is_set(const struct setting_errors *errs, const char *name)
{
	const bool *is = setting_of(errs, name);

	return is && *is;
}

/* The map of the control server in this process would have a relay that no client can use. */
static void check_map(const struct derp_conf *conf, struct setting_errors *errs)
{
	char *const *certificate = setting_of(errs, "core.http.tls_cert_path");

	if (conf->tls_listen_addr.count || conf->advertised_port || !certificate || *certificate ||
		!is_set(errs, "control.derp.server.enabled") ||
		!is_set(errs, "control.derp.server.automatically_add_embedded_derp_region"))
		return;
	setting_error(errs, conf,
		"clients would be told of this relay by the control server, and want TLS: set "
		"tls_listen_addr, as in [\":8443\"], or core.http.tls_cert_path, or "
		"advertised_port where a proxy speaks it; or let control.derp.server.enabled be "
		"false");
}

void derp_validate(const void *settings, struct setting_errors *errs)
{
	const struct derp_conf *conf = settings;

	check_url(conf, errs);
	check_addresses(conf, errs);
	check_map(conf, errs);
	derp_mesh_validate(&conf->mesh, errs);
	if (conf->hostname && !certificate_host_valid(conf->hostname))
		setting_error(errs, &conf->hostname,
			"\"%s\" is neither a name nor an address; the port is advertised_port",
			conf->hostname);
	if (!*conf->region_code)
		setting_error(errs, &conf->region_code,
			"region_code is empty; clients want a short name, as \"home\" is");
}
