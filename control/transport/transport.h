/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <tailplane/err.h>
#include <tailplane/metrics.h>

#include "rpc.h"

/*
 * The lower half of the control server: /key, /ts2021 and what is inside it, and the pages that
 * need no tailnet. Its routes are on the front door. Control loop; start and stop hooks.
 */
struct transport_conf {
	const char *private_key_path; /* of the server's Noise key; made when it is not there */
	const char *server_url;       /* as clients are told it; for the pages */
};

/* Clients of an older capability version are told so; theirs is 1.80. */
#define TRANSPORT_VERSION_MIN 113

/* `ops` stay until transport_stop has returned. */
int transport_start(const struct transport_conf *conf, const struct rpc_ops *ops, struct err *err);
/* Says goodbye to all clients. Each request that is still open is closed, and `ops` must call
 * rpc_done for all of them before this returns, or have done so. */
void transport_stop(void);
void transport_collect(struct metric_sink *sink);
/* The server's Noise public key, between start and stop. */
const struct public_key *transport_public_key(void);
