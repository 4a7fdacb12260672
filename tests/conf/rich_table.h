/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Two tables with every type and flag of setting: for tests that should not lean on the daemon's.
 */
#include <tailplane/settings.h>

struct rich_peer {
	char *name;
	uint8_t key[32];
	char *endpoint;
	struct setting_list allowed_ips; /* struct net_prefix */
	uint64_t keepalive;
	char *psk_file;
};

struct rich_limits {
	uint64_t rate, burst;
	uint64_t timeout;
};

struct rich_metrics {
	char *listen;
	bool per_peer;
};

struct rich {
	bool enabled;
	int64_t mtu, weight, serial;
	char *title;
	int mode;
	uint64_t interval, memory, rate;
	struct net_addr router;
	struct net_prefix pool;
	char *listen;
	uint8_t key[32];
	char *secret_file, *log_file;
	struct rich_limits limits;
	struct rich_metrics metrics;
	struct setting_list ports;   /* int64_t */
	struct setting_list servers; /* struct net_addr */
	struct setting_list peers;   /* struct rich_peer */
};

static const struct setting rich_peer_settings[] = {
	{"name", SETTING_STRING, SETTING_REQUIRED | SETTING_UNIQUE,
		offsetof(struct rich_peer, name), .help = "What the peer is called."},
	{"key", SETTING_KEY, SETTING_REQUIRED | SETTING_UNIQUE, offsetof(struct rich_peer, key),
		.help = "The peer's public key."},
	{"endpoint", SETTING_ENDPOINT, 0, offsetof(struct rich_peer, endpoint),
		.help = "Where the peer is found first."},
	{"allowed_ips", SETTING_PREFIX, SETTING_LIST, offsetof(struct rich_peer, allowed_ips),
		.help = "What the peer may send from."},
	{"keepalive", SETTING_DURATION, 0, offsetof(struct rich_peer, keepalive), .def = "25s",
		.max = 65535000000000, .help = "How often to send when silent; 0s is never."},
	{"psk_file", SETTING_SECRET_FILE, 0, offsetof(struct rich_peer, psk_file),
		.help = "A pre-shared key."},
	{0},
};

static const struct setting rich_limits_settings[] = {
	{"rate", SETTING_RATE, SETTING_REQUIRED, offsetof(struct rich_limits, rate), .min = 1000,
		.max = 400000000000, .help = "The most that goes out."},
	{"burst", SETTING_SIZE, 0, offsetof(struct rich_limits, burst), .def = "64KiB",
		.help = "What may go out at once."},
	{"timeout", SETTING_DURATION, SETTING_REQUIRED, offsetof(struct rich_limits, timeout),
		.min = 1000000, .max = INT64_MAX, .help = "When to give up."},
	{0},
};

static const struct setting rich_metrics_settings[] = {
	{"listen", SETTING_ENDPOINT, 0, offsetof(struct rich_metrics, listen),
		.def = "127.0.0.1:9586", .help = "Where to answer."},
	{"per_peer", SETTING_BOOL, 0, offsetof(struct rich_metrics, per_peer), .def = "false",
		.help = "One line for each peer: many peers make many lines."},
	{0},
};

static const char *const rich_modes[] = {"host", "poll", "adaptive", NULL};

static const struct setting rich_settings[] = {
	{"enabled", SETTING_BOOL, 0, offsetof(struct rich, enabled), .def = "true",
		.help = "Whether it works at all."},
	{"mtu", SETTING_INT, SETTING_RESTART, offsetof(struct rich, mtu), .def = "1420", .min = 576,
		.max = 9216, .unit = "bytes", .help = "The largest packet within the tunnel."},
	{"weight", SETTING_INT, 0, offsetof(struct rich, weight), .min = -100, .max = 100,
		.help = "Preference among equals."},
	{"serial", SETTING_INT, 0, offsetof(struct rich, serial), .help = "Any number."},
	{"title", SETTING_STRING, 0, offsetof(struct rich, title), .help = "Shown as it is."},
	{"mode", SETTING_ENUM, 0, offsetof(struct rich, mode), .def = "adaptive",
		.choices = rich_modes, .help = "How to wait for packets."},
	{"interval", SETTING_DURATION, 0, offsetof(struct rich, interval), .def = "2m",
		.min = 1000000000, .max = 86400000000000, .help = "Time between two rounds."},
	{"memory", SETTING_SIZE, 0, offsetof(struct rich, memory), .def = "256MiB", .min = 1 << 20,
		.max = INT64_MAX, .help = "Taken at start."},
	{"rate", SETTING_RATE, 0, offsetof(struct rich, rate), .help = "Zero is no limit."},
	{"router", SETTING_ADDRESS, 0, offsetof(struct rich, router), .help = "The next hop."},
	{"pool", SETTING_PREFIX, 0, offsetof(struct rich, pool), .def = "10.77.0.0/24",
		.help = "Where addresses are taken from."},
	{"listen", SETTING_ENDPOINT, 0, offsetof(struct rich, listen), .help = "Where to listen."},
	{"key", SETTING_KEY, 0, offsetof(struct rich, key), .help = "A public key."},
	{"secret_file", SETTING_SECRET_FILE, 0, offsetof(struct rich, secret_file),
		.def = "rich.key", .help = "A private key."},
	{"log_file", SETTING_PATH, 0, offsetof(struct rich, log_file), .help = "Where to write."},
	{"limits", SETTING_GROUP, 0, offsetof(struct rich, limits), .sub = rich_limits_settings,
		.size = sizeof(struct rich_limits),
		.help = "What goes out at most; left out: no limit."},
	{"metrics", SETTING_GROUP, 0, offsetof(struct rich, metrics), .sub = rich_metrics_settings,
		.size = sizeof(struct rich_metrics), .help = "Figures for others."},
	{"ports", SETTING_INT, SETTING_LIST, offsetof(struct rich, ports), .min = 1,
		.max = INT64_MAX, .help = "Numbers."},
	{"servers", SETTING_ADDRESS, SETTING_LIST, offsetof(struct rich, servers),
		.help = "Whom to ask."},
	{"peers", SETTING_GROUP, SETTING_LIST, offsetof(struct rich, peers),
		.sub = rich_peer_settings, .size = sizeof(struct rich_peer),
		.help = "The other ends."},
	{0},
};

/* A plugin whose settings may not be left out. */
struct strict {
	struct net_prefix address;
	struct setting_list files; /* char * */
	struct rich_limits limits;
};

static const struct setting strict_settings[] = {
	{"address", SETTING_PREFIX, SETTING_REQUIRED, offsetof(struct strict, address),
		.help = "Its address."},
	{"files", SETTING_PATH, SETTING_REQUIRED | SETTING_LIST, offsetof(struct strict, files),
		.help = "What to read."},
	{"limits", SETTING_GROUP, SETTING_REQUIRED, offsetof(struct strict, limits),
		.sub = rich_limits_settings, .size = sizeof(struct rich_limits),
		.help = "What goes out at most."},
	{0},
};

/* As a plugin's validate hook: what a table cannot say. */
static inline void rich_validate(const struct rich *rich, struct setting_errors *errs)
{
	const struct rich_peer *peers = rich->peers.items;

	if (rich->interval > 3600000000000 && rich->enabled)
		setting_error(errs, &rich->interval, "interval: more than 1h, with enabled = true");
	for (size_t i = 0; i < rich->peers.count; i++) {
		if (!peers[i].allowed_ips.count && !peers[i].endpoint)
			setting_error(errs, &peers[i],
				"peer \"%s\" has neither endpoint nor allowed_ips", peers[i].name);
		if (peers[i].keepalive > 600000000000)
			setting_error(errs, &peers[i].keepalive, "keepalive: more than 10m");
	}
}
