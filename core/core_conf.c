/* SPDX-License-Identifier: BSD-3-Clause */
/* The core's own settings. Runs on: the control loop. */
#include "core_conf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <tailplane/net.h>

#include "log_thread.h"
#include "settings_parse.h"

#define FIELD(field) offsetof(struct core_conf, field)

static const struct setting metrics_settings[] = {
	{.name = "listen",
		.type = SETTING_STRING,
		.offset = FIELD(metrics.listen) - FIELD(metrics),
		.def = "127.0.0.1:9586",
		.help = "Address and port of the HTTP listener that serves /metrics to Prometheus; "
			"empty for none."},
	{.name = "allow_remote",
		.type = SETTING_BOOL,
		.offset = FIELD(metrics.allow_remote) - FIELD(metrics),
		.def = "false",
		.help = "Lets the listener have an address other than loopback. Metrics carry no "
			"secrets, but tell who talks when: put a firewall before it."},
	{NULL},
};

static const struct setting sqlite_settings[] = {
	{.name = "path",
		.type = SETTING_PATH,
		.offset = FIELD(database.sqlite.path) - FIELD(database.sqlite),
		.def = "db.sqlite",
		.help = "File of the database, made when it is not there."},
	{NULL},
};

static const char *const database_types[] = {"sqlite", NULL};

static const struct setting database_settings[] = {
	{.name = "type",
		.type = SETTING_ENUM,
		.offset = FIELD(database.type) - FIELD(database),
		.def = "sqlite",
		.choices = database_types,
		.help = "Where state that must outlive the process is kept."},
	{.name = "sqlite",
		.type = SETTING_GROUP,
		.offset = FIELD(database.sqlite) - FIELD(database),
		.sub = sqlite_settings,
		.size = sizeof(((struct core_conf *)0)->database.sqlite),
		.help = "The built-in database."},
	{NULL},
};

#define HTTP(field) FIELD(http.field) - FIELD(http)

static const struct setting certificate_settings[] = {
	{.name = "cert_path",
		.type = SETTING_PATH,
		.flags = SETTING_REQUIRED,
		.offset = offsetof(struct core_certificate, cert_path),
		.help = "Certificate in PEM, followed by those of its issuers."},
	{.name = "key_path",
		.type = SETTING_PATH,
		.flags = SETTING_REQUIRED,
		.offset = offsetof(struct core_certificate, key_path),
		.help = "Its private key in PEM, without passphrase; core.user reads it, also "
			"when it changes, and not everybody."},
	{NULL},
};

static const struct setting http_settings[] = {
	{.name = "listen_addr",
		.type = SETTING_STRING,
		.flags = SETTING_LIST,
		.offset = HTTP(listen_addr),
		.help = "Addresses with port of the one HTTP server that the plugins share: "
			"\"0.0.0.0:8080\", \"[::]:443\", or \":443\" for both families. Speaks "
			"https "
			"where a certificate is set. Ports below 1024 are taken at start, before "
			"privileges drop."},
	{.name = "tls_cert_path",
		.type = SETTING_PATH,
		.offset = HTTP(tls_cert_path),
		.help = "Certificate in PEM, followed by those of its issuers; for clients that "
			"name a host that is in it, and for those that name none. The files are "
			"read again when they change; connections stay. Without it the server "
			"speaks plain HTTP, for use behind a proxy."},
	{.name = "tls_key_path",
		.type = SETTING_PATH,
		.offset = HTTP(tls_key_path),
		.help = "Its private key in PEM, without passphrase; core.user reads it, also "
			"when it changes, and not everybody."},
	{.name = "tls_more",
		.type = SETTING_GROUP,
		.flags = SETTING_LIST,
		.offset = HTTP(tls_more),
		.sub = certificate_settings,
		.size = sizeof(struct core_certificate),
		.help = "Certificates for further names. A client that asks for a name in none of "
			"them is refused."},
	{.name = "plain_listen_addr",
		.type = SETTING_STRING,
		.flags = SETTING_LIST,
		.offset = HTTP(plain_listen_addr),
		.help = "With TLS: addresses that speak plain HTTP, send browsers to https and "
			"take "
			"what needs no TLS. By default port 80 of the first listen_addr, if it can "
			"be had: clients try it first."},
	{.name = "trusted_proxies",
		.type = SETTING_PREFIX,
		.flags = SETTING_LIST,
		.offset = HTTP(trusted_proxies),
		.help = "Prefixes of reverse proxies whose X-Forwarded-For, X-Real-IP and "
			"X-Forwarded-Proto are believed."},
	{.name = "half_open_max",
		.type = SETTING_INT,
		.offset = HTTP(half_open_max),
		.def = "4096",
		.min = 16,
		.max = 1000000,
		.unit = "connections",
		.help = "Connections whose handshake or first request is not complete. One more, "
			"and the oldest is closed; after 10 seconds each is."},
	{.name = "connections_max",
		.type = SETTING_INT,
		.offset = HTTP(connections_max),
		.def = "65536",
		.min = 16,
		.max = 10000000,
		.unit = "connections",
		.help = "Connections that speak HTTP, those half open and idle included. What is "
			"upgraded to another protocol is not counted."},
	{NULL},
};

const struct setting core_settings[] = {
	{.name = "state_dir",
		.type = SETTING_STRING,
		.flags = SETTING_RESTART,
		.offset = FIELD(state_dir),
		.def = "/var/lib/tailplane",
		.help = "Directory of what is kept over restarts: keys, peers, leases. Relative "
			"paths elsewhere in the configuration are relative to it."},
	{.name = "runtime_dir",
		.type = SETTING_STRING,
		.flags = SETTING_RESTART,
		.offset = FIELD(runtime_dir),
		.def = "/run/tailplane",
		.help = "Directory of the sockets, among them that of the tailplane command. "
			"Members of the group of core.user may use it."},
	{.name = "user",
		.type = SETTING_STRING,
		.flags = SETTING_RESTART,
		.offset = FIELD(user),
		.def = "tailplane",
		.help = "User that a daemon started as root becomes when everything that needs "
			"root "
			"is set up; the capabilities that its plugins need stay. With \"root\" it "
			"stays root."},
	{.name = "jobs",
		.type = SETTING_INT,
		.flags = SETTING_RESTART,
		.offset = FIELD(jobs),
		.def = "2",
		.min = 1,
		.max = 64,
		.unit = "threads",
		.help = "Threads for work that would hold the control loop: handshakes, file "
			"writes, "
			"look-ups. More help where thousands of peers shake hands at once."},
	{.name = "io_loops",
		.type = SETTING_INT,
		.flags = SETTING_RESTART,
		.offset = FIELD(io_loops),
		.def = "1",
		.min = 1,
		.max = 64,
		.unit = "threads",
		.help = "Loops for HTTP, TLS and what is spoken over them, each on a thread of its "
			"own; up to one per core helps a server with many clients."},
	{.name = "log_level",
		.type = SETTING_ENUM,
		.offset = FIELD(log_level),
		.def = "info",
		.choices = log_level_names,
		.help = "The least important messages that are still logged."},
	{.name = "plugin_path",
		.type = SETTING_STRING,
		.flags = SETTING_LIST,
		.offset = FIELD(plugin_path),
		.help = "Directories that are searched for plugins, in this order, before the one "
			"that was built in. The environment variable TAILPLANE_PLUGIN_PATH "
			"(separated by colons) comes before both."},
	{.name = "aead",
		.type = SETTING_STRING,
		.flags = SETTING_RESTART,
		.offset = FIELD(aead),
		.def = "auto",
		.help = "Implementation of ChaCha20-Poly1305: \"avx512\", \"avx2\", \"portable\", "
			"or "
			"\"auto\" for the fastest that this processor can run. The environment "
			"variable TAILPLANE_AEAD comes before it."},
	{.name = "coredumps",
		.type = SETTING_BOOL,
		.flags = SETTING_RESTART,
		.offset = FIELD(coredumps),
		.def = "false",
		.help = "Allows core dumps. Keys are kept out of them, packets are not."},
	{.name = "metrics",
		.type = SETTING_GROUP,
		.offset = FIELD(metrics),
		.sub = metrics_settings,
		.size = sizeof(((struct core_conf *)0)->metrics),
		.help = "The listener for metrics."},
	{.name = "database",
		.type = SETTING_GROUP,
		.flags = SETTING_RESTART,
		.offset = FIELD(database),
		.sub = database_settings,
		.size = sizeof(((struct core_conf *)0)->database),
		.help = "The store of plugins that keep tables: nodes, users, keys."},
	{.name = "http",
		.type = SETTING_GROUP,
		.offset = FIELD(http),
		.sub = http_settings,
		.size = sizeof(((struct core_conf *)0)->http),
		.help = "The HTTP server that plugins put their pages and protocols on."},
	{NULL},
};

static void check_dir(struct setting_errors *errs, char *const *dir)
{
	if ((*dir)[0] != '/')
		setting_error(errs, dir, "\"%s\" is not an absolute path", *dir);
	else if (strlen(*dir) > 80)
		setting_error(errs, dir,
			"longer than 80 bytes, with which a socket's name has no "
			"room for itself");
}

bool addr_is_loopback(const struct net_addr *addr)
{
	static const uint8_t v6[16] = {[15] = 1};

	return addr->family == AF_INET ? addr->bytes[0] == 127
				       : memcmp(addr->bytes, v6, sizeof(v6)) == 0;
}

static void check_listen(struct setting_errors *errs, const struct setting_list *list)
{
	char *const *items = list->items;
	struct net_endpoint ep;
	char any[NET_ENDPOINT_STRLEN];

	for (size_t i = 0; i < list->count; i++) {
		int n = snprintf(
			any, sizeof(any), "%s%s", *items[i] == ':' ? "[::]" : "", items[i]);

		if (n >= (int)sizeof(any) || net_endpoint_parse(&ep, any) != 0)
			setting_error(errs, &items[i],
				"\"%s\" is not an address with a port, as \"0.0.0.0:443\" or "
				"\":443\" are",
				items[i]);
	}
}

static void check_http(const struct core_conf *conf, struct setting_errors *errs)
{
	check_listen(errs, &conf->http.listen_addr);
	check_listen(errs, &conf->http.plain_listen_addr);
	if (!conf->http.tls_cert_path != !conf->http.tls_key_path)
		setting_error(errs, &conf->http,
			"tls_cert_path and tls_key_path go together: one of them is missing");
	if (!conf->http.tls_cert_path && conf->http.tls_more.count)
		setting_error(errs, &conf->http.tls_more, "tls_cert_path comes first");
	if (!conf->http.tls_cert_path && conf->http.plain_listen_addr.count)
		setting_error(errs, &conf->http.plain_listen_addr,
			"is for addresses beside TLS, and tls_cert_path is not set: take "
			"listen_addr");
}

void core_conf_validate(const struct core_conf *conf, struct setting_errors *errs)
{
	const char *listen = conf->metrics.listen;
	char *const *paths = conf->plugin_path.items;
	struct net_endpoint ep;

	check_dir(errs, &conf->state_dir);
	check_dir(errs, &conf->runtime_dir);
	for (size_t i = 0; i < conf->plugin_path.count; i++) {
		if (paths[i][0] != '/')
			setting_error(errs, &paths[i], "\"%s\" is not an absolute path", paths[i]);
	}
	if (!*conf->user)
		setting_error(errs, &conf->user, "empty; name a user, or \"root\" to stay root");
	check_http(conf, errs);
	if (!*listen)
		return;
	if (net_endpoint_parse(&ep, listen) != 0)
		setting_error(errs, &conf->metrics.listen,
			"\"%s\" is not an address with a port, as \"127.0.0.1:9586\" is; \"\" is "
			"for none",
			listen);
	else if (!addr_is_loopback(&ep.addr) && !conf->metrics.allow_remote)
		setting_error(errs, &conf->metrics.listen,
			"%s can be reached from other machines; take 127.0.0.1, or set "
			"allow_remote = true",
			listen);
}

int core_conf_check(const struct core_conf *running, const struct core_conf *next, struct err *err)
{
	for (const struct setting *s = core_settings; s->name; s++) {
		struct setting one[2] = {*s, {NULL}};

		if ((s->flags & SETTING_RESTART) && !settings_equal(one, running, next))
			return err_set(err, -EBUSY,
				"core.%s cannot change while running: restart the daemon", s->name);
	}
	return 0;
}
