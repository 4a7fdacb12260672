/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Inside of Ethernet ports: shared by port_ether.c (control loop) and port_ether_io.c (workers). */
#include <stdatomic.h>

#include <rte_ring.h>

#include "dataplane.h"
#include "port_device.h"
#include "xdp.h"
#include "xdp_watch.h"

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
	bool interrupt;  /* its descriptor speaks only when the interrupt is on */
	bool eventfd;    /* the descriptor counts: it must be read */
	struct rte_mempool *pool; /* what its receive queue is filled from */
	struct rte_ring *shared;  /* packets of workers without a transmit queue; NULL: none */
};

struct ether_port {
	struct port *port;
	uint16_t dev;         /* DPDK's number */
	uint16_t n_rx, n_tx;  /* queues that the device has */
	_Atomic bool removed; /* told by DPDK's interrupt thread */
	bool open;            /* DPDK's device is not closed yet */
	struct kernel_interface kernel;
	struct xdp_sockets sockets;   /* AF_XDP: of its queues, in order; -1: unknown */
	struct xdp_program program;   /* AF_XDP: what DPDK attached */
	struct xdp_watch watch;       /* AF_XDP */
	const char *stalled;          /* what only a restart of the daemon ends; NULL: nothing */
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

/* ---- port_ether_device.c ------------------------------------------------------------------------
 */

/* What is left to close of a device that nobody uses any more. */
struct leftover {
	uint16_t dev;
	struct xdp_sockets sockets;
	struct xdp_program program;
};

int ether_device_open(struct ether_port *e, const struct port_conf *conf,
	struct rte_mempool *const *pools, struct err *err);
struct leftover ether_leftover(const struct ether_port *e);
void ether_device_close(struct leftover *left);
/* Whether workers can sleep on its queues. */
bool ether_interrupts_wanted(const struct ether_port *e);
/* Whether a port has it. */
bool ether_device_used(uint16_t dev);

/* ---- port_ether.c -------------------------------------------------------------------------------
 */

/* Looks up the numbers of the losses that ports count; when the graph knows them. */
void port_ether_numbers(void);
/* Looks now whether the device is there and has a link. */
void port_ether_look(struct port *port);
