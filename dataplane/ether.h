/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The Ethernet side as one thing: ports with their addresses, mirrors, neighbours and routes.
 * Control loop. The order of calls: ether_start, ports, routes; and back by ether_stop alone.
 */
#include "dataplane.h"
#include "fib.h"

/* While the daemon is root: opens what it could not open later (AF_XDP loads a program into the
 * kernel); ether_port_add then takes these ports as they are. */
int ether_prepare(const struct dataplane_conf *conf, uint16_t n_queues, struct err *err);
/* Closes those that nobody took. */
void ether_unprepare(void);

/* FIB, neighbours and the watch on the kernel; publishes the FIB. Only when there are ports. */
int ether_start(struct err *err);
/* Closes the ports, then the rest. */
void ether_stop(void);
/* NULL unless started. */
struct fib *ether_fib(void);

/* Opens the port, puts it into the table, and its addresses on the mirror or into the FIB. */
int ether_port_add(const struct port_conf *conf, uint16_t n_queues,
	struct rte_mempool *const *pools, struct err *err);
void ether_port_remove(const char *name);
struct port *ether_port(const char *name); /* NULL: none of that name */
/* The link of a port came or went: who is on it when it returns may be somebody else. */
void ether_link(struct port *port, bool up);
/* Opens ports whose device was lost anew: on reload all of them, else those that return by
 * themselves, when it is time. One that cannot be opened stays as it is. True: some port came back,
 * and its static routes are to be added again. */
bool ether_reopen(const struct dataplane_conf *conf, uint16_t n_queues,
	struct rte_mempool *const *pools, bool reload);
/* The device of the port was let go, and it is to be opened anew by itself: soon, and later and
 * later where that does not last, since each time costs the memory of its buffers. */
void ether_return(struct port *port);

/* Static routes. `tunnel`: index of the tunnel that conf->tunnel names, else TUNNEL_NONE. A route
 * via an address leaves by the port that the address is connected to. One that is there already is
 * no error. */
int ether_route_add(const struct route_conf *conf, uint32_t tunnel, struct err *err);
void ether_route_remove(const struct route_conf *conf, uint32_t tunnel);
