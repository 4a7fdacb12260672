/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What the halves of the UDP port share: port_udp.c (control loop), port_udp_rx.c and port_udp_tx.c
 * (workers, each its own queue). */
#include <netinet/in.h>
#include <sys/socket.h>

#include "port.h"
#include "scatter.h"
#include "worker.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#define UDP_GRO 104
#endif

#define UDP_MESSAGES 16  /* datagrams of one receive call while there are no trains */
#define UDP_TX_BURST 256 /* packets looked at together */
#define UDP_TX_RETRY UDP_TX_BURST
#define UDP_TRAIN_BYTES 65000 /* with the IP header below what a length field holds */
#define UDP_TRAIN_SEGMENTS 64 /* the kernel's UDP_MAX_SEGMENTS (128 since 6.11) */
#define UDP_QUIRKS 16

enum udp_drop {
	UDP_DROP_RX_TOO_BIG,
	UDP_DROP_QUEUE_FULL,
	UDP_DROP_TX_UNREACHABLE,
	UDP_DROP_TX_REFUSED,
	UDP_DROP_TX_TOO_BIG,
	UDP_DROP_TX_NO_FAMILY,
	UDP_DROP_TX_CHAINED,
	UDP_DROP_TX_ERROR,
	UDP_DROPS,
};

union udp_address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/* Room for a segment size, packet info of IPv6, and a TOS. */
union udp_control {
	struct cmsghdr align;
	uint8_t bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo)) +
		      CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(int))];
};

/* One socket's receiving side. With `trains`, a call takes one message over the slots of `in`, each
 * as long as the segments of the train before; without, UDP_MESSAGES messages of one slot each. */
struct udp_socket {
	int fd; /* -1: no such family here */
	uint8_t family;
	bool trains;    /* expected next */
	bool scattered; /* how the last call was made */
	bool drained;   /* the last call brought less than it could have */
	uint8_t quiet;  /* messages in a row that were no train */
	uint16_t guess; /* segment size of the last train */
	struct scatter in;

	unsigned n_messages, at; /* what the last call brought, and the next to be handed out */
	struct mmsghdr messages[UDP_MESSAGES];
	union udp_address names[UDP_MESSAGES];
	union udp_control control[UDP_MESSAGES];
	struct iovec single[UDP_MESSAGES][2];

	/* Of the message at hand: packets in their mbufs, or a train still to be copied. */
	struct rte_mbuf *ready[SCATTER_MAX];
	unsigned ready_at, ready_end;
	struct scatter_cursor cursor;
	size_t left;
	uint16_t segment;
	struct packet packet;

	uint8_t *rest; /* UDP_MESSAGES * SCATTER_BYTES_MAX: for what is longer than expected */
};

/* Packets that leave in one message: one path, one size but for the last. */
struct udp_group {
	uint16_t first, last, count, size;
	uint32_t bytes;
	bool closed;
};

/* What a path's route or device could not do lately. */
struct udp_quirk {
	uint64_t until; /* ns, of worker.now */
	uint8_t lacks;  /* enum udp_how */
	struct packet_path path;
};

struct udp_send {
	unsigned n, n_groups;
	struct rte_mbuf *mbufs[UDP_TX_BURST];
	uint16_t next[UDP_TX_BURST];
	struct udp_group groups[UDP_TX_BURST];
	/* Messages, what each carries and how; one more that a refused one is tried again with. */
	struct mmsghdr messages[UDP_TX_BURST + 1];
	struct udp_group runs[UDP_TX_BURST + 1];
	uint8_t how[UDP_TX_BURST + 1];
	union udp_address names[UDP_TX_BURST + 1];
	union udp_control control[UDP_TX_BURST + 1];
	struct iovec iov[2 * UDP_TX_BURST];
};

struct udp_queue {
	struct udp_socket sockets[2]; /* IPv4, IPv6 */
	unsigned rounds, busy;        /* busy: the family that had something last */
	bool empty;                   /* nothing came the last time */
	struct udp_send send;
	uint64_t quirks_until; /* the latest of all */
	struct udp_quirk quirks[UDP_QUIRKS];
	uint64_t rx_trains, rx_copied, tx_trains, tx_retried;
};

struct udp {
	struct port port;
	uint16_t listen_port; /* big-endian */
	unsigned drops[UDP_DROPS];
};

static inline struct udp *udp_of(const struct port_queue *q)
{
	return q->port->private;
}

static inline void udp_drop(struct worker *w, struct port_queue *q, enum udp_drop why, unsigned n)
{
	w->counters.drops[udp_of(q)->drops[why]] += n;
	if (why == UDP_DROP_RX_TOO_BIG)
		q->counters.rx_dropped += n;
	else
		q->counters.tx_dropped += n;
}

uint16_t udp_rx(struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t max);
uint16_t udp_tx(struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t n);
