/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What the halves of the TUN port share: port_tun.c (control loop), port_tun_rx.c and port_tun_tx.c
 * (workers, each its own queue). */
#include <stdatomic.h>

#include "gso.h"
#include "port.h"
#include "scatter.h"
#include "worker.h"

/* Behind an inner packet: padding to 16 bytes and the tag. */
#define TUN_TAIL_RESERVE (15 + 16)

enum tun_drop {
	TUN_DROP_RX_MALFORMED,
	TUN_DROP_RX_TOO_BIG,
	TUN_DROP_QUEUE_FULL,
	TUN_DROP_TX_DOWN,
	TUN_DROP_TX_REFUSED,
	TUN_DROP_TX_CHAINED,
	TUN_DROPS,
};

/* Of a worker; counters are read relaxed by the control loop. */
struct tun_queue {
	struct scatter in;
	struct virtio_net_hdr_v1 header;
	/* The shape of the super-packet that came last; 0: none are expected. */
	uint16_t next_lead, next_len;
	uint8_t quiet; /* packets in a row that were none */

	/* What came with the last read and was not handed out yet: packets in their mbufs, or, when
	 * the guess was wrong, a super-packet still to be copied out of `in`. */
	struct rte_mbuf *ready[SCATTER_MAX];
	unsigned ready_at, ready_end;
	struct gso_super super;
	struct scatter_cursor cursor;
	size_t left;          /* payload bytes behind the cursor; 0: none */
	size_t index;         /* of the segment at the cursor */
	struct packet packet; /* what all packets of the last read have in common */

	struct join_burst join;
	uint64_t rx_supers, rx_copied, tx_supers, tx_joined;
	atomic_bool dead; /* the kernel took the interface away */
	uint8_t rest[SCATTER_BYTES_MAX];
};

struct tun {
	struct port port;
	bool uso; /* the kernel takes joined UDP */
	unsigned drops[TUN_DROPS];
};

static inline struct tun *tun_of(const struct port_queue *q)
{
	return q->port->private;
}

static inline void tun_drop(struct worker *w, struct port_queue *q, enum tun_drop why, unsigned n)
{
	w->counters.drops[tun_of(q)->drops[why]] += n;
	if (why <= TUN_DROP_RX_TOO_BIG)
		q->counters.rx_dropped += n;
	else
		q->counters.tx_dropped += n;
}

uint16_t tun_rx(struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t max);
uint16_t tun_tx(struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t n);
/* The interface is gone: nothing can be read, and nothing wakes the worker any more. */
void tun_queue_die(struct port_queue *q);
