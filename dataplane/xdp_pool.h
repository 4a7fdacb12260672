/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Packet buffers of AF_XDP queues. The kernel writes into the buffers themselves, so a pool must be
 * one piece of memory and a buffer no larger than a page; and DPDK's driver never gives back those
 * that lie in the kernel's rings. So each queue gets a pool of its own. Control loop.
 */
#include <rte_mempool.h>

#include "tailplane/err.h"

#define XDP_POOL_BUFFERS 8191 /* 2048 in the fill ring, the rest under way */
#define XDP_POOL_MIB 20

struct rte_mempool *xdp_pool_new(unsigned frame_max, int numa, struct err *err);
/* Only when no packet of it can be under way. */
void xdp_pool_free(struct rte_mempool *pool);
/* All; when no worker runs any more. */
void xdp_pools_free(void);
