/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <tailplane/net.h>

#include "secret.h"

/*
 * A wg-quick(8) configuration, read from text: no files, no clock, no globals. What is wrong with
 * it, and what has no counterpart here, is noted with its line.
 */
struct wgquick_prefixes {
	struct net_prefix *items;
	size_t count;
};

struct wgquick_peer {
	unsigned line; /* of its [Peer] */
	bool has_key, has_psk;
	struct public_key key;
	struct symmetric_key psk;
	char *endpoint;       /* host:port or NULL */
	unsigned keepalive_s; /* 0: off */
	struct wgquick_prefixes allowed_ips;
	char *name; /* from the comment that people write above a peer; or NULL */
};

struct wgquick_note {
	unsigned line; /* 0: of no one line */
	bool error;
	char *text;
};

struct wgquick {
	unsigned line; /* of [Interface], 0: none */
	bool has_key;
	struct private_key key;
	uint16_t listen_port; /* 0: any */
	unsigned mtu;         /* 0: not said */
	unsigned fwmark;      /* 0: not said */
	bool no_routes;       /* Table = off */
	struct wgquick_prefixes addresses;
	struct wgquick_peer *peers;
	size_t n_peers;
	struct wgquick_note *notes; /* at most WGQUICK_NOTES_MAX */
	size_t n_notes;
	bool failed;
};

#define WGQUICK_NOTES_MAX 100
#define WGQUICK_SIZE_MAX (16u << 20)

/* 0, or -EINVAL when one of the notes is an error. Free it in both cases. */
int wgquick_parse(struct wgquick *conf, const char *text, size_t len);
/* Zeroes the keys. */
void wgquick_free(struct wgquick *conf);

/* Where the secrets of the new configuration are. */
struct wgquick_paths {
	const char *private_key;
	/* Of this peer's preshared key. Heap. */
	char *(*psk)(void *arg, const struct wgquick_peer *peer);
	void *arg;
};
/* The same tunnel in our own language: the settings of the plugin "dataplane". */
void wgquick_print(
	FILE *out, const struct wgquick *conf, const char *name, const struct wgquick_paths *paths);
