/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Whether the kernel still serves the sockets of an AF_XDP port. Control loop. */
#include <stdbool.h>
#include <stdint.h>

#include "xdp.h"

#define XDP_WATCH_LOOKS 5 /* without progress, before a socket is given up */

/* Of one queue; all of them only grow. */
struct xdp_facts {
	uint64_t invalid;            /* descriptors that the kernel refused */
	uint64_t no_room;            /* frames it had no buffer, or no place in the ring, for */
	uint64_t rx, tx, tx_dropped; /* packets, as the port counts them */
};

struct xdp_watch {
	struct xdp_facts last[XDP_SOCKETS_MAX];
	uint8_t stuck[XDP_SOCKETS_MAX]; /* looks in vain since the last progress */
};

/* Facts of queue `i`, a second or so after the last ones. NULL while all is well, else what is not.
 * Idle looks count neither way. */
const char *xdp_watch_judge(struct xdp_watch *w, unsigned i, const struct xdp_facts *facts);
/* What the kernel has counted, into `invalid` and `no_room`; false: it does not say. */
bool xdp_facts_read(int fd, struct xdp_facts *facts);
