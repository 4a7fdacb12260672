/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Inside of ports on AF_PACKET: shared by port_packet.c (control loop) and port_packet_io.c
 * (workers).
 */
#include <stdatomic.h>

#include <ev.h>

#include "dataplane.h"
#include "port_device.h"

enum packet_drop {
	PACKET_DROP_NO_BUFFER,
	PACKET_DROP_TRUNCATED,
	PACKET_DROP_SUPER,
	PACKET_DROP_REFUSED,
	PACKET_DROPS,
};

/* One worker's sockets. Written by: control before the port is in the table; `next` by its worker.
 */
struct packet_queue {
	int rx, tx;
	uint8_t *ring; /* mapped: blocks of slots that the kernel fills in turn */
	size_t ring_size;
	uint32_t slot_size, slots, slots_per_block, block_size;
	uint32_t next; /* slot that is looked at next */
	struct packet_port *port;
};

struct packet_port {
	struct port *port;
	struct kernel_interface kernel;
	ev_timer watch;
	uint64_t missed; /* frames for which the ring had no slot */
	char device[DEVICE_ARGS_MAX];
	struct packet_queue queues[PORT_QUEUES_MAX];
};

extern unsigned packet_drop_numbers[PACKET_DROPS];

uint16_t packet_rx(struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t max);
uint16_t packet_tx(struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t n);
bool packet_arm(struct port_queue *q);

/* A port on the kernel interface that the device string names. */
struct port *port_packet_open(const struct port_conf *conf, uint16_t n_queues, struct err *err);
void port_packet_look(struct port *port);
