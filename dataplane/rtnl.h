/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* One question to rtnetlink and its answer. Control loop; the kernel answers at once. */
#include <libmnl/libmnl.h>
#include <stdint.h>

#include "tailplane/err.h"

/* Who made a route, as `ip route` shows: not one of the kernel's names. */
#define RTNL_PROTOCOL 84

struct rtnl_request {
	struct nlmsghdr *nlh;
	char buf[512];
	char words[160]; /* the kernel's own for a refusal, empty when it said none */
	mnl_cb_t seen;
	void *arg;
};

/* Begins a message; returns the zeroed header of `header_size` bytes that attributes follow. */
void *rtnl_request_init(struct rtnl_request *r, uint16_t type, uint16_t flags, size_t header_size);
/* Asks, and waits for the answer: `seen` gets each message of it; without one the kernel only says
 * whether it was done. 0 or -errno. */
int rtnl_request_send(struct rtnl_request *r, mnl_cb_t seen, void *arg);
/* Makes the VLAN interface `name` on top of `parent`. */
int rtnl_vlan_add(const char *parent, const char *name, uint16_t id, struct err *err);
