/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Ports are one idea: an Ethernet port (any DPDK ethdev), a TUN device, or the UDP sockets of a
 * tunnel. Each has one receive and one transmit queue per worker. Control loop: open, close, stats.
 * Workers: rx and tx of their own queue only.
 */
#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>
#include <rte_mbuf.h>

#include "tailplane/err.h"
#include "tailplane/net.h"

#define PORT_MAX 256
#define PORT_QUEUES_MAX 64

struct worker;
struct port;

enum port_type { PORT_ETHER, PORT_TUN, PORT_UDP };

/* Written by its worker only; read by the control loop (relaxed). */
struct port_counters {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
	uint64_t rx_calls, tx_calls;     /* system calls, or driver calls that moved something */
	uint64_t rx_dropped, tx_dropped; /* each also under a named drop reason */
};

struct port_queue {
	struct port *port;
	struct port_counters counters;
	int fd;        /* to sleep on (epoll, readable); -1: must be polled */
	void *private; /* the port type's own state for this queue */
} __rte_cache_aligned;

struct port_ops {
	/* Receives at most `max` packets; sets kind, in_port (and path, tun_hash) of struct packet.
	 */
	uint16_t (*rx)(
		struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t max);
	/* Sends all it can; takes those sent. Returns how many from the front were taken; the
	 * caller counts the rest as `tx_queue_full` and frees them. Packets of one call may go to
	 * several destinations; order within a flow is kept. n <= NODE_BURST_LARGE. */
	uint16_t (*tx)(struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t n);
	/* Before a worker sleeps: true if it may (nothing waiting, wake-up is armed). NULL: yes
	 * when fd >= 0. */
	bool (*arm)(struct port_queue *q);
	void (*describe)(struct port *p, json_t *row); /* adds fields to `tailplane ports` */
	void (*close)(struct port *p);                 /* control loop, after a grace period */
};

/* A port whose device is there, but of no use any more, is opened anew by itself; ether.c. */
struct port_return {
	bool wanted;
	uint32_t count;  /* so far */
	double at;       /* s, of the loop: when */
	double delay;    /* s, the last one */
	double returned; /* s, of the loop; 0: it was not yet necessary */
};

struct port {
	const struct port_ops *ops;
	enum port_type type;
	uint16_t index;     /* into the port table; never reused while a packet may name it */
	uint16_t n_queues;  /* one per worker */
	uint16_t ethdev_id; /* PORT_ETHER: DPDK's number */
	uint32_t tunnel;    /* PORT_TUN, PORT_UDP: whose */
	int numa;           /* node of its memory; -1 any */
	uint16_t mtu;       /* of the L3 packets it carries */
	uint8_t mac[6];     /* PORT_ETHER */
	bool up;            /* link */
	/* Its device went away: nothing may touch it (workers: acquire), and who takes a table
	 * after that does not wait for it. Written by control. */
	_Atomic bool gone;
	bool mirror; /* PORT_ETHER: the kernel has it too, and answers what is for this host */
	char name[32];
	char reason[128]; /* why it is down, empty when up */
	struct port_return back;
	void *private;
	struct port_queue queues[PORT_QUEUES_MAX];
};
