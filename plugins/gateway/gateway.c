/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The gateway as a plugin. At its first start it chooses the pools, makes one client and shows the
 * configuration to paste. Control loop.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway.h"
#include "secret.h"

struct gateway_state gateway_state;
const struct gateway_conf *gateway_conf;

static const struct setting settings[] = {
	{"tunnel", SETTING_STRING, 0, offsetof(struct gateway_conf, tunnel), .def = "wg0",
		.help = "The data plane's tunnel that clients join."},
	{"pool4", SETTING_PREFIX, 0, offsetof(struct gateway_conf, pool4),
		.help = "The gateway's own IPv4 address in the network that clients get theirs "
			"from. "
			"Chosen at random at the first start, and kept."},
	{"pool6", SETTING_PREFIX, 0, offsetof(struct gateway_conf, pool6),
		.help = "The same for IPv6."},
	{"endpoint", SETTING_ENDPOINT, 0, offsetof(struct gateway_conf, endpoint),
		.help = "host:port that clients are told to reach the gateway at. Without it, this "
			"machine's "
			"address towards the internet: set it when the gateway is behind NAT."},
	{"dns", SETTING_STRING, 0, offsetof(struct gateway_conf, dns),
		.help = "Resolvers for clients, as in wg-quick's DNS line."},
	{"forward", SETTING_BOOL, 0, offsetof(struct gateway_conf, forward), .def = "false",
		.help = "Lets clients reach what this machine reaches: turns on IP forwarding and "
			"adds a "
			"masquerade rule (nftables), both taken back at stop. Clients made from "
			"then on "
			"send everything through the tunnel."},
	{"first_client", SETTING_BOOL, 0, offsetof(struct gateway_conf, first_client),
		.def = "true",
		.help = "Makes a client at the first start and prints its configuration."},
	{0},
};

static void first_client_done(void *arg, const char *text, const char *error)
{
	char *qr = text && isatty(STDOUT_FILENO) ? qr_text(text) : NULL;

	(void)arg;
	if (error) {
		log_warnx("no first client: %s; make one with `tailplane clients add NAME`", error);
		return;
	}
	log_present("\nThe gateway runs. Paste this into a WireGuard client (its private key is "
		    "shown this once"
		    " and not kept):\n\n");
	log_present(text);
	if (qr) {
		log_present("\nor scan it with the WireGuard app:\n\n");
		log_present(qr);
		secret_zero(qr, strlen(qr));
	}
	free(qr);
	log_present("\nOn Linux: save it as /etc/wireguard/tailplane.conf, then `wg-quick up "
		    "tailplane`.\n"
		    "Next: `tailplane peers` shows the client once it is up;"
		    " `tailplane clients add NAME` makes another.\n\n");
}

static void addresses_set(void *arg, const json_t *result, const char *error)
{
	struct client_request request = {.name = "client1", .done = first_client_done};
	char text[NET_PREFIX_STRLEN];
	struct net_prefix net = net_prefix_masked(&gateway_state.pool4);

	(void)arg, (void)result;
	if (error) {
		log_warnx("gateway: the tunnel's addresses: %s", error);
		return;
	}
	log_info("gateway: clients get addresses of %s", net_prefix_format(&net, text));
	if (!gateway_state.existed && gateway_conf->first_client)
		client_add(&request);
	else if (!gateway_state.n_clients)
		log_info("gateway: no clients yet: `tailplane clients add NAME` makes one");
}

static int pools_take(const struct gateway_conf *conf, struct err *err)
{
	int rc = gateway_state_load(&gateway_state, err);

	if (rc)
		return rc;
	if (!gateway_state.existed)
		pool_choose(&gateway_state.pool4, &gateway_state.pool6);
	if (conf->pool4.addr.family)
		gateway_state.pool4 = conf->pool4;
	if (conf->pool6.addr.family)
		gateway_state.pool6 = conf->pool6;
	if (!gateway_state.existed)
		gateway_state_save(&gateway_state);
	return 0;
}

static int gateway_start(const void *settings_now, struct err *err)
{
	const struct gateway_conf *conf = settings_now;
	char pool4[NET_PREFIX_STRLEN], pool6[NET_PREFIX_STRLEN];
	int rc;

	gateway_conf = conf;
	rc = pools_take(conf, err);
	if (rc)
		return rc;
	forward_start(conf->forward, conf->tunnel, &gateway_state);
	op_invoke("tunnels address",
		json_pack("{ss s[ss]}", "tunnel", conf->tunnel, "addresses",
			net_prefix_format(&gateway_state.pool4, pool4),
			net_prefix_format(&gateway_state.pool6, pool6)),
		addresses_set, NULL);
	return 0;
}

static void gateway_stop(void)
{
	forward_stop();
	jobs_drain();
	gateway_state_fini(&gateway_state);
}

static void gateway_validate(const void *conf_now, struct setting_errors *errs)
{
	const struct gateway_conf *conf = conf_now;

	if (conf->pool4.addr.family == AF_INET6 ||
		(conf->pool4.addr.family && conf->pool4.len > 30))
		setting_error(errs, &conf->pool4,
			"pool4 is an IPv4 address with the length of its network, at most 30: "
			"\"10.77.0.1/24\"");
	if (conf->pool6.addr.family == AF_INET ||
		(conf->pool6.addr.family && conf->pool6.len > 120))
		setting_error(errs, &conf->pool6,
			"pool6 is an IPv6 address with the length of its network, at most 120: "
			"\"fd77::1/64\"");
}

static void gateway_status(json_t *status)
{
	char text[NET_PREFIX_STRLEN];

	json_object_set_new(
		status, "pool4", json_string(net_prefix_format(&gateway_state.pool4, text)));
	json_object_set_new(
		status, "pool6", json_string(net_prefix_format(&gateway_state.pool6, text)));
	json_object_set_new(status, "clients", json_integer((json_int_t)gateway_state.n_clients));
	json_object_set_new(status, "forward", json_boolean(gateway_conf->forward));
}

static const char *const needs[] = {"dataplane", NULL};

__attribute__((visibility("default"))) const struct plugin tailplane_plugin = {
	.abi = TAILPLANE_ABI,
	.size = sizeof(struct plugin),
	.name = "gateway",
	.version = TAILPLANE_VERSION,
	.summary = "Clients with ready-to-paste configurations, and forwarding for them",
	.needs = needs,
	.settings = settings,
	.settings_size = sizeof(struct gateway_conf),
	.ops = gateway_ops,
	.caps = 1ull << CAP_NET_ADMIN,
	.validate = gateway_validate,
	.start = gateway_start,
	.stop = gateway_stop,
	.status = gateway_status,
};
