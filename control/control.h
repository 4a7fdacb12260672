/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The control server as one plugin: what its parts share. Control loop. */
#include <tailplane/metrics.h>

#include "conf.h"
#include "map.h"
#include "ops.h"
#include "server.h"
#include "tailnet.h"

struct control {
	const struct control_conf *conf;
	struct tailnet tailnet;
	struct map *map;
	struct server server;
	struct relays *relays;
	char *server_url; /* as clients are told */
	char *records;    /* of dns.extra_records_path, as JSON; NULL: none */
	ev_stat records_file;
};

extern struct control control; /* between start and stop */

/* The map's common parts anew, from settings, files and relays. */
void control_map_conf(void);
void control_figures(struct metric_sink *sink);
void control_status(json_t *status);
/* With no user yet: makes one and a key, and prints what to paste. */
void first_key_make(void);
