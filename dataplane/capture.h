/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * `tailplane capture`: copies of packets at the ports (sealed) and at the tunnels (inner), filtered
 * on the workers, written as pcapng by jobs.
 */
#include <stdatomic.h>
#include <stdbool.h>

#include "tailplane/op.h"
#include "worker.h"

/* Where a packet is seen. */
enum capture_point {
	CAPTURE_RX,        /* as a port gave it */
	CAPTURE_TX,        /* as a port gets it */
	CAPTURE_INNER_IN,  /* opened: from a peer */
	CAPTURE_INNER_OUT, /* before it is sealed: to a peer */
};

/* Workers: nonzero while any capture runs, so that nothing else is looked at without one. */
extern _Atomic unsigned capture_running;
void capture_burst_slow(
	struct worker *w, enum capture_point point, struct rte_mbuf *const *pkts, uint16_t n);

static inline void capture_burst(
	struct worker *w, enum capture_point point, struct rte_mbuf *const *pkts, uint16_t n)
{
	/* pairs with the release store when a capture starts */
	if (__builtin_expect(atomic_load_explicit(&capture_running, memory_order_acquire) != 0, 0))
		capture_burst_slow(w, point, pkts, n);
}

/* Control loop. */
void capture_op(struct op_call *call, const json_t *args);
void capture_halt(void);     /* no more packets; what is buffered is written */
void capture_stop_all(void); /* waits for that */
extern const struct op_arg capture_args[];
