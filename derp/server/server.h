/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The relay: everything from the request for /derp to the last byte of a connection. Connections
 * live on the I/O loop that the front door gave them to; no lock is on the way of a packet.
 * Unless a comment says otherwise, functions are for the control loop.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tailplane/err.h>
#include <tailplane/front.h>
#include <tailplane/net.h>

#include "info.h"
#include "secret.h"

struct derp_admission;

struct derp_server_conf {
	struct private_key key;
	bool has_mesh_key; /* without one, frames of mesh peers are refused */
	struct symmetric_key mesh_key;
	const struct derp_admission *admission; /* NULL: everybody is welcome */

	/* 0: no limit, or the default that stands behind it */
	uint64_t client_rate;     /* bytes a second that one client may send; mesh peers exempt */
	uint64_t client_burst;    /* bytes; at least one frame */
	unsigned accept_rate;     /* new connections a second, of all addresses */
	unsigned accept_burst;    /* default: what one second brings */
	unsigned connections_max; /* all */
	unsigned connections_address; /* of one address */
	uint64_t memory_max;          /* bytes that connections hold; queues count */
	uint64_t write_timeout;       /* ns; default 2 s: a reader that takes nothing is closed */
	uint64_t mesh_write_timeout;  /* ns; default 30 s */
	uint64_t keep_alive;          /* ns; default 60 s, and up to 5 s more, fixed for each */
	uint64_t away; /* ns; default 5 s: who was sent away shall be back, or is gone */
};

/* How a client came, as it is shown; or in which other process of this node it is. */
enum derp_via {
	DERP_VIA_UPGRADE,
	DERP_VIA_FAST,
	DERP_VIA_WEBSOCKET,
	DERP_VIA_MESH,
	DERP_VIA_OLDER,
	DERP_VIA_NEWER,
};
extern const char *const derp_via_names[];

/* Adds the routes for /derp and the certificate that tells the key (fast start). The conf is
 * copied. */
int derp_server_start(const struct derp_server_conf *conf, struct err *err);
/* Closes what is still open, at once. */
void derp_server_stop(void);
/* Limits, mesh key and admission may change while it runs; the key may not. */
void derp_server_configure(const struct derp_server_conf *conf);
const struct public_key *derp_server_key(void); /* any thread, while it runs */

/* ---- clients ---- */

struct derp_client {
	struct public_key key;
	struct net_endpoint from;
	enum derp_via via;
	unsigned loop;
	uint64_t id;    /* tells two connections of one key apart */
	uint64_t since; /* core_now() of its first second */
	bool tls, mesh; /* mesh: it has the mesh key, or is a connection that we made */
	bool watching;  /* mesh: it gets presence */
	bool active;    /* packets for the key go to this connection */
	bool home;      /* says that this relay is its home */
	bool elsewhere; /* in another process of this node: of it there are key, from, via and what
			 * else watchers are told, and no more */
	bool prober, not_ideal, can_ack_pings;
	char app_name[DERP_APP_NAME_MAX];
	uint64_t packets_in, bytes_in, packets_out, bytes_out, dropped;
	uint32_t queued; /* packets that wait for this reader */
};

/* Asks all loops; `done` on the control loop with the list, which is valid during the call. Not
 * after derp_server_stop. */
void derp_server_clients(
	void (*done)(void *user, const struct derp_client *clients, size_t n), void *user);
/* Closes all connections of a key, on whatever loop: it is no longer admitted. Any thread that may
 * post. */
void derp_server_close_key(const struct public_key *key);
/* The same in all processes of this node: somebody said so. */
void derp_server_close_peer(const struct public_key *key);
/* Tells all clients, and those who come as long as it holds; "": all is well again. At most 1000
 * bytes. */
void derp_server_health(const char *text);
/* `fd` is one end of a pair of stream sockets whose other end another process of this same relay
 * has: `newer`, which takes over from this one, or an older one. Each tells the other of its
 * clients, and forwards packets to those; nothing is asked, for who has the other end was given it.
 * Takes `fd`; ends with that process. */
void derp_server_kin(int fd, bool newer);
/* Closes all clients' connections in slices over `over` ns, each after a Restarting frame; `done`
 * (may be NULL) when none is left. No new ones are taken; with `successor`, another process that
 * they come back to, those that were on their way here still are, and sent away with the others. */
void derp_server_drain(uint64_t over, bool successor, void (*done)(void *user), void *user);

/* ---- figures ---- */

enum derp_drop {
	DERP_DROP_UNKNOWN_DEST,
	DERP_DROP_UNKNOWN_DEST_ON_FWD,
	DERP_DROP_GONE_DISCONNECTED,
	DERP_DROP_QUEUE_HEAD,
	DERP_DROP_QUEUE_TAIL,
	DERP_DROP_WRITE_ERROR,
	DERP_DROP_DUP_CLIENT,
	DERP_DROPS,
};
extern const char *const derp_drop_names[DERP_DROPS];
enum derp_kind { DERP_KIND_OTHER, DERP_KIND_DISCO, DERP_KINDS };
extern const char *const derp_kind_names[DERP_KINDS];
/* How long a round trip to a client took at most. */
#define DERP_RTTS 8
extern const char *const derp_rtt_names[DERP_RTTS];

/* Sums over all loops since start. Names as derper's counters, where it has them. */
#define DERP_COUNTERS(X)                                                          \
	X(accepts)                                                                \
	X(accepts_websocket)                                                      \
	X(accepts_fast)                                                           \
	X(refused_rate)    /* more a second than accept_rate */                   \
	X(refused_address) /* connections_address */                              \
	X(refused_full)    /* connections_max, memory_max */                      \
	X(refused_draining)                                                       \
	X(handshakes_failed) /* a box, JSON or frame that is wrong */             \
	X(handshakes_slow)                                                        \
	X(handshakes_denied) /* by admission */                                   \
	X(bytes_received)    /* frames of packets, with their headers */          \
	X(bytes_sent)                                                             \
	X(packets_received_other)                                                 \
	X(packets_received_disco)                                                 \
	X(packets_sent)                                                           \
	X(packets_forwarded_out)                                                  \
	X(packets_forwarded_in)                                                   \
	X(unknown_frames)                                                         \
	X(got_ping)                                                               \
	X(sent_pong)                                                              \
	X(home_moves_in)                                                          \
	X(home_moves_out)                                                         \
	X(peer_gone_disconnected_frames)                                          \
	X(peer_gone_not_here_frames)                                              \
	X(keep_alives_sent)                                                       \
	X(write_timeouts)                                                         \
	X(write_errors)                                                           \
	X(protocol_errors)  /* closed for a frame that is wrong or not allowed */ \
	X(dup_client_conns) /* connections for a key that had one */              \
	X(multiforwarder_created)                                                 \
	X(multiforwarder_deleted)                                                 \
	X(rate_limit_waits) /* times that a client was not read from */           \
	X(loop_reads)       /* reads from sockets that brought something */       \
	X(loop_writes)      /* and writes that carried something */               \
	X(packets_crossed)  /* went to another loop */

/* What is there now. */
#define DERP_GAUGES(X)                                                              \
	X(connections)    /* those in handshake too */                              \
	X(clients_local)  /* keys that have a connection here */                    \
	X(clients_remote) /* keys that are reached by another node of the region */ \
	X(home_connections)                                                         \
	X(not_ideal_connections)                                                    \
	X(watchers)                                                                 \
	X(dup_client_keys)                                                          \
	X(dup_client_connections)                                                   \
	X(queued_packets)                                                           \
	X(memory_bytes) /* in queues and partial frames */

struct derp_figures {
#define X(name) uint64_t name;
	DERP_COUNTERS(X)
	DERP_GAUGES(X)
#undef X
	uint64_t dropped_packets[DERP_DROPS][DERP_KINDS];
	uint64_t dropped_bytes[DERP_DROPS][DERP_KINDS];
	uint64_t tcp_rtt[DERP_RTTS]; /* as the kernel has measured it, with each keep-alive */
};

/* Any thread while the server runs. */
void derp_server_figures(struct derp_figures *figures);
