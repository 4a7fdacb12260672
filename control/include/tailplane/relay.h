/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What the control server wants of a relay in its own process: provided as "relay" through
 * core_service. Without one the map of relays comes from files and URLs alone. Control loop.
 */
#include <stdint.h>

#include <jansson.h>
#include <tailplane/err.h>

#define RELAY_SERVICE "relay"

struct relay_ops {
	/* Its region as the map has it ("DERPRegion"), a new reference. `host`: the name or address
	 * that clients know this machine by. NULL: clients cannot use it now, `err` says why. */
	json_t *(*region)(const char *host, struct err *err);
	/* A key that is a node's no longer, because it left, expired or has another key: its
	 * connections end. */
	void (*dismiss)(const uint8_t key[static 32]);
};

/* Provided by the control server for that relay, as "relay map". */
#define RELAY_MAP_SERVICE "relay map"

struct relay_map_ops {
	/* `region` answers something else than before, or the relay has come. */
	void (*changed)(void);
	/* The map that nodes are shown ("DERPMap"), until the loop goes on; NULL: none yet. */
	const char *(*map)(void);
};
