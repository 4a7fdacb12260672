/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "tailplane/err.h"

/* Control loop. Takes an XDP program that a killed process of DPDK's left on the interface off it.
 * 0 also when there is none; -EBUSY when the program is somebody else's. */
int xdp_detach_stale(const char *ifname, unsigned ifindex, struct err *err);
