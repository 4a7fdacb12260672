/* SPDX-License-Identifier: BSD-3-Clause */
/* Pools of AF_XDP queues live until the data plane stops: their packets may be anywhere. Control
 * loop. */
#include "xdp_pool.h"

#include <errno.h>
#include <stdio.h>

#include "dataplane.h"

#define POOLS_MAX 256
#define KERNEL_HEADROOM 256 /* that the kernel keeps before each frame */
#define FRAME_MAX 3240      /* with all headers in a page, the most that every kernel takes */

static struct rte_mempool *pools[POOLS_MAX];

struct rte_mempool *xdp_pool_new(unsigned frame_max, int numa, struct err *err)
{
	struct rte_mempool *pool;
	char name[RTE_MEMPOOL_NAMESIZE];
	unsigned i = 0;

	if (frame_max > FRAME_MAX) {
		err_set(err, -EINVAL, "AF_XDP carries frames of up to %d bytes: lower the MTU",
			FRAME_MAX);
		return NULL;
	}
	while (i < POOLS_MAX && pools[i])
		i++;
	if (i == POOLS_MAX) {
		err_set(err, -ENOSPC, "too many AF_XDP queues since the data plane started");
		return NULL;
	}
	snprintf(name, sizeof(name), "xdp-%u", i);
	pool = eal_pool(name, XDP_POOL_BUFFERS, frame_max + KERNEL_HEADROOM, numa, err);
	if (!pool)
		return NULL;
	if (pool->nb_mem_chunks != 1) {
		err_set(err, -ENOMEM,
			"no piece of memory is large enough for an AF_XDP queue: raise `memory`, "
			"or "
			"restart the daemon");
		rte_mempool_free(pool);
		return NULL;
	}
	return pools[i] = pool;
}

void xdp_pool_free(struct rte_mempool *pool)
{
	for (unsigned i = 0; pool && i < POOLS_MAX; i++)
		if (pools[i] == pool) {
			rte_mempool_free(pool);
			pools[i] = NULL;
		}
}

void xdp_pools_free(void)
{
	for (unsigned i = 0; i < POOLS_MAX; i++)
		xdp_pool_free(pools[i]);
}
