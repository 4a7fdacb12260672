/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * STUN on Ethernet ports: what the relay tells its graph node (derp/node/stun_node.c), and what
 * that counts, as the sockets do. Without the data plane nobody looks.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tailplane/net.h>

#define STUN_PORTS_SLOT "derp.stun"

enum stun_outcome {
	STUN_ANSWERED,
	STUN_NOT_STUN,
	STUN_READ_ERROR,
	STUN_WRITE_ERROR,
	STUN_SILENT,
	STUN_OUTCOMES,
};

/* Datagrams by what became of them, and requests by IP version. Written by an I/O loop, or by
 * workers once a burst; read by scrapes. */
struct stun_counts {
	_Atomic uint64_t outcomes[STUN_OUTCOMES], ipv4, ipv6;
};

/* A snapshot: the slot holds one while the STUN server runs. Freed after a grace period. */
struct stun_ports {
	struct stun_counts *counts; /* live as long as the process */
	bool speak;
	unsigned n;
	struct net_endpoint listen[]; /* an address of zeroes: any of that family */
};

/* Control loop. What is said from now on, where `n` sockets of these addresses are; 0: nothing. */
void stun_ports_publish(const struct net_endpoint *listen, unsigned n, bool speak);
const struct stun_counts *stun_ports_counts(void);
