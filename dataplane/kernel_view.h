/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What the kernel said about the interfaces that stand for our ports (mirrors and VLAN interfaces
 * on them): their addresses and routes, as they are in the FIB. Kept here so that it can be taken
 * out of the FIB again, one by one, or all that a new look at the kernel did not bring again.
 * Control loop.
 */
#include <stdbool.h>
#include <stdint.h>

#include "fib.h"

struct kernel_interface_of_port {
	unsigned ifindex;
	uint16_t port, vlan, mtu;
};

void kernel_view_start(struct fib *fib);
/* Forgets everything and takes it out of the FIB. */
void kernel_view_stop(void);

void kernel_view_address(
	const struct kernel_interface_of_port *k, const struct net_prefix *address, bool there);

struct kernel_route {
	struct net_prefix prefix;
	uint32_t metric;
	struct net_addr via; /* family 0: on the link */
};

/* `replaces`: instead of what there was for this prefix and metric. */
void kernel_view_route(const struct kernel_interface_of_port *k, const struct kernel_route *route,
	bool there, bool replaces);

/* A look at everything: what was not said again between the two is taken out. */
void kernel_view_mark(void);
void kernel_view_sweep(void);
/* The interface is gone. */
void kernel_view_forget(unsigned ifindex);
