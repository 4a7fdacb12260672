/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * A client of relays: connected to the first node of a region that answers, and again when the
 * connection is lost. Thread of the loop that it is given; every function is called there, and
 * every callback.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ev.h>
#include <tailplane/err.h>
#include <tailplane/net.h>

#include "dial.h"
#include "frame.h"
#include "secret.h"
#include "target.h"

struct relay_client;

/* NULL: not of interest. Any of them may free the client; bytes are valid until they return. */
struct relay_client_ops {
	/* The relay has accepted; packets may be sent from now on. */
	void (*up)(void *user, const struct public_key *server);
	/* Lost, refused, or could not be reached: once for each try. */
	void (*down)(void *user, int error, const char *why);
	void (*packet)(
		void *user, const struct public_key *from, const uint8_t *packet, size_t len);
	/* To one that watches: a client of the relay. It comes again for each connection of it, and
	 * goes once. */
	void (*present)(void *user, const struct derp_present *present);
	/* A client is gone that was watched or had sent packets here; or is not there, who was sent
	 * one. `reason` as in the frame. */
	void (*gone)(void *user, const struct public_key *peer, uint8_t reason);
	void (*pong)(void *user, const uint8_t data[8]);
	/* What the relay says of its health; "": well again. */
	void (*health)(void *user, const char *text);
	void (*restarting)(void *user, uint32_t reconnect_in_ms, uint32_t try_for_ms);
};

struct relay_client_conf {
	struct ev_loop *loop;
	struct ssl_ctx_st *tls;            /* of derp_tls_ctx_new; one reference is taken */
	const struct derp_target *targets; /* the region's nodes, in order; copied */
	unsigned n_targets;
	struct private_key key;
	const struct symmetric_key *mesh_key; /* NULL: none; copied */
	bool prober;                          /* counted apart by relays */
	bool preferred;                       /* this is the client's home */
	bool watch;                           /* with a mesh key: be told who comes and goes */
	bool once;                            /* no second try */
	uint64_t retry_min_ns, retry_max_ns;  /* 0: 100 ms, 5 s; doubled each time */
	const struct relay_client_ops *ops;
	void *user;
};

/* Connects at once. NULL: no memory. */
struct relay_client *relay_client_new(const struct relay_client_conf *conf);
/* In a callback too; none comes after it. */
void relay_client_free(struct relay_client *client);

/*
 * What is sent goes out together before the loop sleeps. 0, or -ENOTCONN, -EMSGSIZE, -EAGAIN (the
 * relay does not take as much: drop it), -ENOBUFS (more than the relay allows: drop it).
 */
int relay_client_send(
	struct relay_client *client, const struct public_key *to, const void *packet, size_t len);
/* With a mesh key: `from` is a client of this side. */
int relay_client_forward(struct relay_client *client, const struct public_key *from,
	const struct public_key *to, const void *packet, size_t len);
int relay_client_ping(struct relay_client *client, const uint8_t data[static 8]);
/* Remembered for connections to come. */
void relay_client_preferred(struct relay_client *client, bool preferred);
/* With a mesh key: ends the connections of that client. */
int relay_client_close_peer(struct relay_client *client, const struct public_key *peer);

struct relay_client_facts {
	bool up;
	unsigned target; /* index of the node that it is connected to, or tries */
	struct public_key server;
	struct net_endpoint address;             /* of the node, while up */
	uint64_t tcp_ns, tls_ns, http_ns, up_ns; /* since the try began */
	const struct ssl_st *tls;                /* while connected with TLS */
	bool fast;
	uint64_t limit_bytes_per_s; /* that the relay told; 0: none */
	unsigned tries;             /* that failed since it was up */
};
/* Valid until the loop goes on. */
struct relay_client_facts relay_client_facts(const struct relay_client *client);
