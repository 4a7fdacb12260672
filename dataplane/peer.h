/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What workers see of peers, key pairs and tunnels. Slots are published one by one: a key pair, a
 * path, a timestamp; only the list of tunnels is part of the table that changes as a whole.
 */
#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <rte_prefetch.h>

#include "allowedips.h"
#include "replay.h"
#include "secret.h"
#include "worker.h"

#define OWNER_NONE UINT16_MAX

/*
 * What seals: one cache line, apart from the rest of its key pair so that many peers' lines share
 * few pages. A gateway of 10 000 peers touches 157 of them instead of 3 000, and to find a page
 * costs more than to fetch the line.
 * Written by: control before it is published; counter by all workers (atomic). Read by: workers.
 * Freed: with its key pair.
 */
struct send_key {
	_Alignas(64) struct symmetric_key key;
	_Atomic uint64_t counter; /* of the next packet */
	uint64_t expires;         /* ns, monotonic: not to be used from then on */
	uint64_t rekey_at;        /* ns: of the initiator; UINT64_MAX for the responder */
	uint32_t remote_index;
	uint16_t tunnel;
	_Atomic bool rekey_asked; /* once per key pair, when its age calls for it */
};

static_assert(sizeof(struct send_key) == 64, "what seals is one line");

/*
 * What opens: one line and the words of the window.
 * Written by: control before it is published; replay by the owning worker alone; owner once, by the
 * first worker that opens under it. Read by: workers. Freed: after a grace period from leaving the
 * index table and its peer.
 */
struct keypair {
	_Alignas(64) struct symmetric_key receive;
	uint64_t birth; /* ns, monotonic */
	uint32_t peer, local_index;
	_Atomic uint16_t
		owner; /* worker that keeps the window; OWNER_NONE until the first packet */
	uint16_t tunnel;
	bool initiator;
	_Atomic bool confirmed; /* authentic data came in under it */
	struct replay_window replay;
	struct send_key *send; /* the other half, for as long as this one */
};

static_assert(offsetof(struct keypair, replay.words) == 64, "what opens is one line");

static inline void keypair_born(struct keypair *kp, uint64_t now)
{
	kp->birth = now;
	kp->send->expires = now + REJECT_AFTER_TIME;
	kp->send->rekey_at = kp->initiator ? now + REKEY_AFTER_TIME : UINT64_MAX;
}

/* A worker's clock is that of the start of its round: a key may have been born after it. */
static inline uint64_t keypair_age(const struct keypair *kp, uint64_t now)
{
	return now > kp->birth ? now - kp->birth : 0;
}

enum peer_flag {
	PEER_ACTIVE = 1 << 0, /* control runs this peer's timers */
	PEER_WANTED = 1 << 1, /* control was told that a handshake is needed */
	PEER_ROAMED = 1 << 2, /* control was told a new path and has not published it yet */
};

/*
 * A path and, beside it, where its packets go: workers note the FIB's answer, for as long as the
 * FIB's generation is that. One cache line.
 */
struct peer_path {
	struct packet_path path;
	_Atomic uint64_t hop; /* generation << 32 | next hop + 1; 0: not known */
};

/*
 * One slot, one cache line, per peer of any tunnel, reused after a grace period with another
 * generation. Written by: control; flags and the facts by workers too (relaxed), when they change.
 */
struct peer_slot {
	_Alignas(64) _Atomic(struct send_key *) current; /* to seal with; NULL: none */
	_Atomic(struct peer_path *) path;                /* NULL: not known */
	/* The same path again, for IPv4 and as path_short makes it: who opens need not follow the
	 * pointer. One that is just being replaced may be half old, which for one packet looks like
	 * roaming, or hides it. [1] zero: follow the pointer. */
	_Atomic uint64_t path_short[2];
	_Atomic uint32_t generation;
	_Atomic uint32_t flags;           /* enum peer_flag */
	_Atomic uint64_t data_sent_since; /* ns of the first data sent since an authentic receipt */
	_Atomic uint64_t data_received_since; /* ns of the first data received since we sent */
};

static_assert(sizeof(struct peer_slot) == 64, "one cache line");

/* What tells one IPv4 path from another; false for others. */
static inline bool path_short(const struct packet_path *path, uint64_t out[static 2])
{
	uint32_t remote, local;

	memcpy(&remote, path->remote, 4);
	memcpy(&local, path->local, 4);
	out[0] = (uint64_t)remote << 32 | (uint64_t)path->remote_port << 16 | path->port;
	out[1] = (uint64_t)local << 32 | 1;
	return path->family == AF_INET;
}

/* Per worker and peer, one cache line, so that what changes with each packet is never shared; read
 * relaxed by control. */
struct peer_traffic {
	_Alignas(64) uint64_t rx_packets;
	uint64_t rx_bytes, tx_packets, tx_bytes;
	_Atomic uint64_t last_sent, last_received; /* ns, anything authentic */
};

static_assert(sizeof(struct peer_traffic) == 64, "one cache line");

/* By receiver index: the low bits are the place, the whole index must match. */
struct index_entry {
	_Atomic(struct keypair *) keypair; /* NULL: none, or a handshake still */
	_Atomic uint64_t owner;            /* index << 32 | peer, for control and jobs; 0: free */
};

struct dp_tunnel {
	uint32_t index;
	char name[32];
	bool ports_underlay; /* outer packets leave by Ethernet ports, not by sockets */
	bool relay_peers;
	uint16_t listen_port; /* big-endian */
	uint16_t mtu;
	uint16_t tun_port;               /* index of the TUN, PORT_NONE: none */
	uint16_t udp_port;               /* index of the sockets, PORT_NONE: ports_underlay */
	uint8_t source4[4], source6[16]; /* our first addresses, zero: none */
	const struct allowedips *allowed_ips;
};

/* One for the process. The arrays are reserved once for max_peers and never move. */
struct peers {
	uint32_t max;
	struct peer_slot *slots;
	struct index_entry *indices;
	uint32_t index_mask;
	struct peer_traffic *traffic[WORKER_MAX];
};
extern struct peers peers;

/* What wg_output is going to touch first: the peer's, and the ends of the packet. */
static inline void peer_prefetch_output(unsigned worker, uint32_t peer, const struct rte_mbuf *m)
{
	const char *data = rte_pktmbuf_mtod(m, const char *);

	rte_prefetch0(&peers.slots[peer]);
	__builtin_prefetch(&peers.traffic[worker][peer], 1);
	__builtin_prefetch(data - RTE_CACHE_LINE_SIZE, 1);
	__builtin_prefetch(data + m->data_len, 1);
}

static inline struct keypair *keypair_by_index(uint32_t index)
{
	/* pairs with the release store in keypair_publish */
	struct keypair *kp = atomic_load_explicit(
		&peers.indices[index & peers.index_mask].keypair, memory_order_acquire);

	return kp && kp->local_index == index ? kp : NULL;
}

/* Asks for the entry of a data message's key pair. */
static inline void index_prefetch(const uint8_t *message)
{
	struct le32 index;

	memcpy(&index, message + offsetof(struct message_data, receiver_index), sizeof(index));
	rte_prefetch0(&peers.indices[le32_get(index) & peers.index_mask]);
}
