/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Between the two halves of the control server. The transport (control/transport/, on I/O loops)
 * owns sockets, Noise and HTTP/2; the service (control/server/, on the control loop) owns the
 * tailnet. A request that arrived whole inside a Noise session comes up as a `struct rpc`; answers
 * and map messages go down. Everything here is called on the control loop; the transport moves it
 * to the loop of the connection and back.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tailplane/net.h>

#include "secret.h"

/*
 * Bytes that many connections send: made once on the control loop (or a job), never changed,
 * counted. A zstd frame of a map, say. The last put frees, on whatever thread it happens.
 */
struct blob {
	_Atomic uint32_t refs;
	uint32_t len;
	uint8_t data[];
};

struct blob *blob_new(size_t len); /* one reference; NULL: no memory */
struct blob *blob_get(struct blob *blob);
void blob_put(struct blob *blob);

struct rpc_conn; /* one Noise session; a machine may have several */

/* One HTTP/2 request. Belongs to the service from rpc_ops.request until rpc_done; until then
 * everything in it stays, also when the connection is gone. */
struct rpc {
	struct public_key machine; /* authenticated by Noise */
	uint16_t version;          /* the client's capability version, from the handshake */
	struct net_endpoint from;  /* the far end; X-Forwarded-For of a trusted proxy counts */
	const char *method, *path; /* path without the query */
	const char *query;         /* "" if none */
	const uint8_t *body;       /* followed by a NUL that is not counted */
	size_t body_len;
	void *user; /* the service's */
};

/* What the service provides. */
struct rpc_ops {
	/* Answer with rpc_reply or rpc_stream, now or later. */
	void (*request)(struct rpc *rpc);
	/* The client reset the request or the connection is gone. Whatever is sent from now on goes
	 * nowhere; the service still calls rpc_done. Once, and not after rpc_done. */
	void (*closed)(struct rpc *rpc);
	/* Everything that was sent down is sent; once for each rpc_want_drained. */
	void (*drained)(struct rpc *rpc);
};

/* The whole answer; `type` NULL: application/json. Bytes are copied. Ends the request; rpc_done
 * follows when the service no longer needs `rpc`. */
void rpc_reply(struct rpc *rpc, int status, const char *type, const void *body, size_t len);
/* Further header fields before rpc_reply, such as Retry-After: names in lower case. */
void rpc_header(struct rpc *rpc, const char *name, const char *value);

/* Starts a 200 answer without a length: HEADERS go out at once. The request's body is gone then. */
void rpc_stream(struct rpc *rpc);
/*
 * One map message: the transport puts the length (u32 little-endian, of all blobs together) before
 * it, and begins each message in fresh DATA frames and Noise records, so that the shared part has
 * the same cut for every receiver. Takes one reference of each blob, copies the array. Messages
 * keep their order.
 */
void rpc_send(struct rpc *rpc, struct blob *const *blobs, unsigned n);
/* The same message to up to RPC_MANY_MAX: one message between the threads, and sealed together.
 * Takes one reference of each blob. */
#define RPC_MANY_MAX 256
void rpc_send_many(struct rpc *const *rpcs, unsigned n_rpcs, struct blob *const *blobs, unsigned n);
/* It will be sent to soon: asks memory for what that touches. */
void rpc_fetch(const struct rpc *rpc);
/* What was sent down and has not reached the socket: bytes, and for how long the oldest has waited
 * (ns, 0 when nothing waits). */
struct rpc_backlog {
	uint64_t bytes;
	uint64_t age;
};
struct rpc_backlog rpc_backlog(const struct rpc *rpc);
/* Asks for `drained` when nothing waits any more; never called before this returns. */
void rpc_want_drained(struct rpc *rpc);
/* END_STREAM after what was sent; `discard`: what has not reached a frame yet is dropped first. */
void rpc_end(struct rpc *rpc, bool discard);
void rpc_done(struct rpc *rpc); /* the service lets go */

/* Closes every connection of that machine (it was deleted), after what they still send. */
void rpc_close_machine(const struct public_key *machine);
