/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What workers see of peers, key pairs and tunnels. Slots are published one by one: a key pair, a
 * path, a timestamp; only the list of tunnels is part of the table that changes as a whole.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "allowedips.h"
#include "replay.h"
#include "secret.h"
#include "worker.h"

#define OWNER_NONE UINT16_MAX

/*
 * Written by: control before it is published; send_counter by all workers (atomic); replay by the
 * owning worker alone; owner once, by the first worker that opens under it. Read by: workers.
 * Freed: after a grace period from leaving the index table and its peer.
 */
struct keypair {
	struct symmetric_key send, receive;
	uint32_t peer, tunnel;
	uint32_t local_index, remote_index;
	uint64_t birth; /* ns, monotonic */
	bool initiator;
	_Atomic bool rekey_asked; /* once per key, when its age calls for it */
	_Atomic bool confirmed;   /* authentic data came in under it */
	_Atomic uint16_t
		owner; /* worker that keeps the window; OWNER_NONE until the first packet */
	_Alignas(64) _Atomic uint64_t send_counter;
	_Alignas(64) struct replay_window replay;
};

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
 * One slot per peer of any tunnel, reused after a grace period with another generation.
 * Written by: control (first line), workers (second line, relaxed: facts for the timers).
 */
struct peer_slot {
	_Alignas(64) _Atomic(struct keypair *) current; /* to seal with; NULL: none */
	_Atomic(struct packet_path *) path;             /* NULL: not known */
	uint32_t tunnel;
	_Atomic uint32_t generation;
	_Alignas(64) _Atomic uint32_t flags; /* enum peer_flag */
	_Atomic uint64_t data_sent_since; /* ns of the first data sent since an authentic receipt */
	_Atomic uint64_t data_received_since;      /* ns of the first data received since we sent */
	_Atomic uint64_t last_sent, last_received; /* ns, anything authentic */
};

/* Per worker and peer, so that counting never shares a line; read relaxed by control. */
struct peer_traffic {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
};

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

static inline struct keypair *keypair_by_index(uint32_t index)
{
	/* pairs with the release store in keypair_publish */
	struct keypair *kp = atomic_load_explicit(
		&peers.indices[index & peers.index_mask].keypair, memory_order_acquire);

	return kp && kp->local_index == index ? kp : NULL;
}
