/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The other nodes of the region: a connection to each, kept, and what they tell of their clients,
 * told to the relay's directory. Control loop.
 */
#include <jansson.h>
#include <tailplane/err.h>
#include <tailplane/metrics.h>

#include "conf.h"
#include "secret.h"

/* After derp_server_start. `key`: the relay's. All is copied. 0 too when `conf` names no key or no
 * nodes: then there is nothing to do. */
int derp_mesh_start(const struct derp_mesh_conf *conf, const struct private_key *key,
	const struct symmetric_key *mesh_key, struct err *err);
/* Before derp_server_stop. Waits for the I/O loops. */
void derp_mesh_stop(void);

/* An array, one object a node. */
json_t *derp_mesh_status(void);
void derp_mesh_collect(struct metric_sink *sink);
