/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The gateway plugin: an address pool, clients with ready-to-paste configurations, and optionally
 * forwarding to the networks that this machine reaches. It uses the data plane through operations
 * alone. Control loop, except what says job.
 */
#include "tailplane/plugin.h"

#define CLIENTS_MAX 65536

struct gateway_conf {
	char *tunnel;
	struct net_prefix pool4, pool6; /* family 0: chosen at first start */
	char *endpoint;                 /* what clients are told; NULL: found out */
	char *dns;
	bool forward;
	bool first_client;
};

struct client {
	char name[64];
	char public_key[45];
	struct net_addr addr4, addr6;
};

/* What is kept in gateway.json. */
struct gateway_state {
	struct net_prefix pool4, pool6; /* address: the gateway's own in it */
	struct client *clients;
	size_t n_clients;
	bool existed; /* not the first start */
};

/* ---- pool.c: pure ---------------------------------------------------------------------------- */
/* Random private networks: 10.x.y.0/24 and a ULA /64 (RFC 4193), with the gateway's address .1. */
void pool_choose(struct net_prefix *pool4, struct net_prefix *pool6);
/* The first address of `pool` that no client has; -ENOSPC. `offset` of family in struct client. */
int pool_next(
	const struct net_prefix *pool, const struct gateway_state *state, struct net_addr *out);

/* ---- state.c --------------------------------------------------------------------------------- */
int gateway_state_load(struct gateway_state *state, struct err *err);
/* Kept by a job; failures are logged. */
void gateway_state_save(const struct gateway_state *state);
void gateway_state_fini(struct gateway_state *state);

/* ---- clients.c ------------------------------------------------------------------------------- */
struct client_request {
	const char *name;
	/* `text`: the configuration (holds the private key: the callee zeroes nothing, it is
	 * borrowed); NULL with an error */
	void (*done)(void *arg, const char *text, const char *error);
	void *arg;
};
extern struct gateway_state gateway_state;
extern const struct gateway_conf *gateway_conf;
void client_add(const struct client_request *request);
extern const struct op gateway_ops[];
/* QR code of `text` as UTF-8 half blocks; heap, NULL when it does not fit. */
char *qr_text(const char *text);

/* ---- forward.c ------------------------------------------------------------------------------- */
/* Takes back what an earlier run left, then turns forwarding on if wanted. */
void forward_start(bool wanted, const char *interface, const struct gateway_state *state);
void forward_stop(void);
