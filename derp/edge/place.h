/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Where clients find this relay: the listener and certificate of its own, and its region as maps of
 * relays have it. Control loop.
 */
#include <jansson.h>

#include "derp_conf.h"
#include "target.h"

/* `changed` on the loop when place_region answers something else than before. */
int place_start(const struct derp_conf *conf, void (*changed)(void), struct err *err);
void place_stop(void);
/* Other settings; not tls_listen_addr. */
void place_apply(const struct derp_conf *conf);

/* "DERPRegion", a new reference. `host`: what clients know this machine by, where the settings do
 * not say; NULL: its address. NULL: clients cannot use the relay, `err` says why. */
json_t *place_region(const char *host, struct err *err);
/* The way from here to here, for a look whether it works. False: nothing listens. */
bool place_target(struct derp_target *target);
