/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The kernel's links, addresses, routes and neighbours of mirror interfaces, as they change.
 * Control loop. */
#include "fib.h"
#include "neigh.h"

int netlink_watch_start(struct fib *fib, struct err *err);
void netlink_watch_stop(void);
/* The interface stands for the port; VLAN interfaces on top of it are found by themselves. */
void netlink_watch_add(unsigned ifindex, uint16_t port, uint16_t mtu);
void netlink_watch_remove(uint16_t port);
/* Asks the kernel to find or check a neighbour; false: no interface stands for that port and VLAN.
 */
bool netlink_watch_resolve(const struct neigh_key *key);
