/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* One question to rtnetlink and its answer. Control loop; the kernel answers at once. */
#include <libmnl/libmnl.h>
#include <stdint.h>

#include "tailplane/err.h"

/* Sends the message and calls `cb` (may be NULL) for each message of the answer. 0 or -errno. */
int rtnl_talk(struct nlmsghdr *nlh, mnl_cb_t cb, void *arg);
/* Makes the VLAN interface `name` on top of `parent`. */
int rtnl_vlan_add(const char *parent, const char *name, uint16_t id, struct err *err);
