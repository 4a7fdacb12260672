/* SPDX-License-Identifier: BSD-3-Clause */
/* The control server as a plugin: its parts are put together here. Control loop. */
#include "control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/front.h>
#include <tailplane/log.h>
#include <tailplane/loop.h>
#include <tailplane/plugin.h>
#include <tailplane/relay.h>
#include <tailplane/state.h>

#include "admission.h"
#include "dns.h"
#include "doctor.h"
#include "pages.h"
#include "pending.h"
#include "policy_door.h"
#include "relays.h"
#include "transport.h"

#define SECOND 1000000000ull
#define RECORDS_MAX (4u << 20)
/* A router's stream ended: others take over unless it comes back within this. */
#define ROUTE_GRACE_NS (2 * SECOND)
#define OFFLINE_GRACE_NS (10 * SECOND)
#define SETTLE_NS (SECOND / 2)
#define BACKLOG_MAX (256u << 10)
#define FILLING_MAX (64u << 20)

struct control control;

/* ---- settings into parts ------------------------------------------------------------------- */

/* A backup holds files of the state directory only. */
static const char *const *key_files(const struct control_conf *conf)
{
	static const char *files[2];

	files[0] = strchr(conf->noise.private_key_path, '/') ? NULL : conf->noise.private_key_path;
	return files;
}

static struct tailnet_conf tailnet_settings(const struct control_conf *conf)
{
	return (struct tailnet_conf){
		.v4 = conf->prefixes.v4,
		.v6 = conf->prefixes.v6,
		.allocation = (enum allocation)conf->prefixes.allocation,
		.node_expiry = conf->node.expiry,
		.ephemeral_timeout = conf->node.ephemeral.inactivity_timeout,
		.revoked_retention = conf->preauth_keys.revoked_retention,
		.offline_grace = OFFLINE_GRACE_NS,
		.settle = SETTLE_NS,
		.route_grace = ROUTE_GRACE_NS,
		.pending_expiry = conf->tuning.register_cache_expiration,
		.pending_max = (size_t)conf->tuning.register_cache_max_entries,
		.device_approval = conf->node.approval,
		.files = key_files(conf),
		.wake = control.tailnet.conf.wake,
		.wake_arg = control.tailnet.conf.wake_arg,
	};
}

static struct map_conf map_settings(const struct control_conf *conf, const char *dns)
{
	return (struct map_conf){
		.base_domain = conf->dns.base_domain,
		.dns = dns,
		.derp = control.relays ? relays_json(control.relays) : NULL,
		.taildrop = conf->taildrop.enabled,
		.auto_update = conf->auto_update.enabled,
		.log_tail = conf->logtail.enabled,
		.backlog_max = BACKLOG_MAX,
		.filling_max = FILLING_MAX,
	};
}

static struct server_conf server_settings(const struct control_conf *conf)
{
	return (struct server_conf){
		.server_url = control.server_url,
		.probe_interval = conf->node.routes.ha.probe_interval,
		.probe_timeout = conf->node.routes.ha.probe_timeout,
	};
}

void control_map_conf(void)
{
	char *dns = dns_config(control.conf, control.records);
	struct map_conf conf = map_settings(control.conf, dns);

	if (dns)
		map_configure(control.map, &conf);
	free(dns);
}

static void relays_changed(void *arg)
{
	(void)arg;
	if (control.map && control.relays) /* not while either is being made */
		control_map_conf();
}

/* Told by the relay in this process. */
static void own_relay_changed(void)
{
	if (control.relays)
		relays_look(control.relays);
}

static const char *map_of_relays(void)
{
	return control.relays ? relays_json(control.relays) : NULL;
}

static const struct relay_map_ops relay_map = {own_relay_changed, map_of_relays};

/* ---- the file with further records --------------------------------------------------------- */

static void records_read(void)
{
	char *path = state_path(control.conf->dns.extra_records_path), *text = malloc(RECORDS_MAX);
	struct err err = {0};
	ssize_t len = path && text ? state_read(path, text, RECORDS_MAX, &err) : -ENOMEM;
	size_t bad = 0;
	char *records = len < 0 ? NULL : dns_records_read(text, (size_t)len, &bad, &err);

	if (!records) /* what cannot be read is named already */
		log_warnx("%s%s%s; the records stay as they were", len < 0 ? "" : path,
			len < 0 ? "" : ": ", err.msg[0] ? err.msg : "out of memory");
	else if (bad)
		log_warnx("%s: records left out: %zu; each has a name in lower case, a type A or "
			  "AAAA and an address of that kind",
			path, bad);
	if (records) {
		free(control.records);
		control.records = records;
	}
	free(path);
	free(text);
}

LOOP_CALLBACK(records_changed, ev_stat)
{
	(void)loop, (void)watcher, (void)revents;
	records_read();
	control_map_conf();
}

static void records_watch(void)
{
	static char *path;

	free(path);
	path = control.conf->dns.extra_records_path
		       ? state_path(control.conf->dns.extra_records_path)
		       : NULL;
	ev_stat_init(&control.records_file, records_changed, path ? path : "", 1.);
	if (!path)
		return;
	records_read();
	ev_stat_start(core_loop(), &control.records_file);
}

static void records_unwatch(void)
{
	ev_stat_stop(core_loop(), &control.records_file);
	free(control.records);
	control.records = NULL;
}

/* ---- the server's address ------------------------------------------------------------------ */

/* Where clients on other machines find this one; in a URL IPv6 stands in brackets. */
static void own_host(char host[static NET_ADDR_STRLEN + 2])
{
	char text[NET_ADDR_STRLEN] = "127.0.0.1";
	struct net_addr addr = {.family = AF_INET};

	if (net_default_address(&addr, AF_INET) || net_default_address(&addr, AF_INET6))
		net_addr_format(&addr, text);
	else
		log_warnx("control: no route to the internet, so clients are told 127.0.0.1: set "
			  "control.server_url");
	snprintf(host, NET_ADDR_STRLEN + 2, addr.family == AF_INET6 ? "[%s]" : "%s", text);
}

static int server_url_make(const struct control_conf *conf, struct err *err)
{
	char host[NET_ADDR_STRLEN + 2], *url;
	uint16_t port;
	bool tls;
	int n;

	free(control.server_url);
	control.server_url = NULL;
	if (conf->server_url) {
		control.server_url = strdup(conf->server_url);
		return control.server_url ? 0 : -ENOMEM;
	}
	port = front_port(&tls);
	if (!port)
		return err_set(err, -EINVAL,
			"the control server needs core.http.listen_addr, as in [\"0.0.0.0:8080\"], "
			"or control.server_url");
	own_host(host);
	n = port == (tls ? 443 : 80) ? asprintf(&url, "http%s://%s", tls ? "s" : "", host)
				     : asprintf(&url, "http%s://%s:%u", tls ? "s" : "", host, port);
	control.server_url = n < 0 ? NULL : url;
	return n < 0 ? -ENOMEM : 0;
}

/* ---- life ---------------------------------------------------------------------------------- */

static void request(struct rpc *rpc)
{
	server_request(&control.server, rpc);
}

static const struct rpc_ops rpc_ops = {request, server_closed, server_drained};

static int map_start(struct err *err)
{
	char *dns = dns_config(control.conf, control.records);
	struct map_conf conf = map_settings(control.conf, dns);

	control.map = dns ? map_new(&control.tailnet, &conf) : NULL;
	free(dns);
	return control.map ? 0 : err_set(err, -ENOMEM, "out of memory");
}

/* What clients and administrators asked for last is carried out; conflicts take more rounds. */
static void settle(void)
{
	struct tailnet *t = &control.tailnet;

	for (unsigned i = 0; i < 64; i++) {
		store_drain();
		tailnet_run(t);
		if (i > 1 && !t->deferred && !t->rows_deferred && !t->lanes.by_machine.n)
			return;
	}
}

static void parts_stop(void)
{
	doctor_stop();
	tailnet_stopping(&control.tailnet);
	pages_stop();
	transport_stop();
	settle();
	events_stop(&control.tailnet);
	ops_use(NULL);
	server_stop(&control.server);
	admission_stop();
	core_provide(RELAY_MAP_SERVICE, NULL);
	if (control.relays)
		relays_stop(control.relays);
	control.relays = NULL;
	policy_door_stop();
	map_free(control.map);
	control.map = NULL;
	tailnet_close(&control.tailnet);
	records_unwatch();
	free(control.server_url);
	control.server_url = NULL;
}

static int control_start(const void *settings, struct err *err)
{
	const struct control_conf *conf = settings;
	struct tailnet_conf tailnet = tailnet_settings(conf);
	struct transport_conf transport = {.private_key_path = conf->noise.private_key_path};
	int rc;

	control.conf = conf;
	rc = server_url_make(conf, err);
	if (!rc)
		rc = tailnet_open(&control.tailnet, &tailnet, err);
	if (rc)
		return rc;
	policy_door_open(&control.tailnet);
	records_watch();
	control.relays = relays_start(conf, control.server_url, relays_changed, NULL);
	rc = map_start(err);
	if (rc) {
		policy_door_stop();
		tailnet_close(&control.tailnet);
		records_unwatch();
		return rc;
	}
	policy_door_start(control.map);
	control.server = (struct server){
		.tailnet = &control.tailnet, .map = control.map, .conf = server_settings(conf)};
	server_start(&control.server, core_loop());
	ops_use(&control.tailnet);
	events_start(&control.tailnet);
	admission_start(&control.tailnet, conf->derp.server.enabled);
	core_provide(RELAY_MAP_SERVICE, &relay_map);
	transport.server_url = control.server_url;
	rc = transport_start(&transport, &rpc_ops, err);
	if (!rc)
		rc = pages_start(&control.tailnet, err);
	if (!rc)
		rc = doctor_start(err);
	if (rc) {
		parts_stop();
		return rc;
	}
	log_info("control: %zu nodes of %zu users; clients: tailscale up --login-server %s",
		control.tailnet.n_nodes, control.tailnet.n_users, control.server_url);
	if (conf->first_key)
		first_key_make();
	return 0;
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

/* What is bound to addresses, files or the transport takes a restart of the plugin: clients come
 * back at once. */
static enum plugin_reload control_check(const void *running, const void *next, struct err *err)
{
	const struct control_conf *a = running, *b = next;

	(void)err;
	if (!same(a->server_url, b->server_url) ||
		!same(a->noise.private_key_path, b->noise.private_key_path))
		return PLUGIN_RESTART;
	return PLUGIN_ABSORB;
}

static void control_apply(const void *next)
{
	struct tailnet_conf tailnet;
	struct server_conf server;

	control.conf = next;
	tailnet = tailnet_settings(next);
	server = server_settings(next);
	tailnet_configure(&control.tailnet, &tailnet);
	server_configure(&control.server, &server);
	admission_provide(control.conf->derp.server.enabled);
	records_unwatch();
	records_watch();
	if (control.relays)
		relays_stop(control.relays);
	control.relays = NULL;
	control.relays = relays_start(control.conf, control.server_url, relays_changed, NULL);
	control_map_conf();
}

static void control_collect(struct metric_sink *sink)
{
	control_figures(sink);
	transport_collect(sink);
}

__attribute__((visibility("default"))) const struct plugin tailplane_plugin = {
	.abi = TAILPLANE_ABI,
	.size = sizeof(struct plugin),
	.name = "control",
	.version = TAILPLANE_VERSION,
	.summary = "The control server that Tailscale clients join",
	.settings = control_settings,
	.settings_size = sizeof(struct control_conf),
	.ops = control_ops,
	.validate = control_validate,
	.start = control_start,
	.stop = parts_stop,
	.check = control_check,
	.apply = control_apply,
	.collect = control_collect,
	.status = control_status,
};
