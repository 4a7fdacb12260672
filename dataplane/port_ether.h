/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Inside of Ethernet ports: shared by port_ether.c (control loop) and port_ether_io.c (workers). */
#include <stdatomic.h>

#include <rte_ring.h>

#include "dataplane.h"
#include "port_device.h"
#include "xdp.h"

#define QUEUE_NONE UINT16_MAX

enum ether_drop {
	ETHER_DROP_NO_BUFFER,
	ETHER_DROP_TOO_BIG,
	ETHER_DROP_SHARED_FULL,
	ETHER_DROP_SENT_LATE,
	ETHER_DROPS,
};

/*
 * One worker's part of a port. A device may have fewer queues than there are workers: then some
 * workers receive nothing from it, and send through the ring of one that has a queue.
 * Written by: control before the port is in the table; `armed` by its worker.
 */
struct ether_queue {
	struct ether_port *ether;
	uint16_t rx, tx; /* DPDK's number of the queue; QUEUE_NONE */
	uint16_t sender; /* tx is QUEUE_NONE: worker whose `shared` ring takes our packets */
	bool armed;      /* the driver's interrupt is on */
	bool eventfd;    /* the descriptor counts: it must be read */
	struct rte_mempool *pool; /* what its receive queue is filled from */
	struct rte_ring *shared;  /* packets of workers without a transmit queue; NULL: none */
};

struct ether_port {
	_Atomic bool lost; /* the device is gone: do not touch it (workers: acquire); first */
	struct port *port;
	uint16_t dev;         /* DPDK's number */
	uint16_t n_rx, n_tx;  /* queues that the device has */
	_Atomic bool removed; /* told by DPDK's interrupt thread */
	bool open;            /* DPDK's device is not closed yet */
	struct kernel_interface kernel;
	struct xdp_sockets sockets;   /* AF_XDP: what its queues opened */
	struct xdp_program program;   /* AF_XDP: what DPDK attached */
	char device[DEVICE_ARGS_MAX]; /* as it was opened */
	char driver[32];
	unsigned link_speed;     /* Mbit/s */
	struct ether_port *next; /* in the list that the timer looks through */
	struct ether_queue queues[PORT_QUEUES_MAX];
};

extern unsigned ether_drop_numbers[ETHER_DROPS];

uint16_t ether_rx(struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t max);
uint16_t ether_tx(struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t n);
bool ether_arm(struct port_queue *q);

/* Looks up the numbers of the losses that ports count; when the graph knows them. */
void port_ether_numbers(void);
/* Whether the device of the port is gone, so that only opening it anew brings it back. */
bool port_ether_lost(const struct port *port);
