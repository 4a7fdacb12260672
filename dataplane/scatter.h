/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Where a super-packet or a train of datagrams lands: empty mbufs in a row, each offering room for
 * exactly one segment of the size that came last. When the guess was right, each segment lies in
 * its own mbuf and nothing was copied; when it was wrong, scatter_cursor reads what came as one
 * stream of bytes. Owned by one worker's queue.
 */
#include <stddef.h>
#include <stdint.h>

#include <rte_mbuf.h>
#include <sys/uio.h>

#define SCATTER_MAX 64
#define SCATTER_BYTES_MAX 65536 /* no super-packet and no train is longer */

struct scatter {
	uint16_t lead;    /* bytes before the segment in each mbuf: its copied header */
	uint16_t len;     /* of a segment; 0: all the room there is */
	uint16_t reserve; /* bytes kept free behind what lands */
	unsigned n;       /* mbufs in `slot`; those taken are NULL until the next fill */
	struct rte_mbuf *slot[SCATTER_MAX];
	/* iov[0] is the caller's; then one per slot, the first with its lead; one more for a rest.
	 */
	struct iovec iov[SCATTER_MAX + 2];
};

struct scatter_cursor {
	const struct iovec *iov;
	size_t offset;
};

/* Sets the shape of what is expected next. */
void scatter_shape(struct scatter *s, uint16_t lead, uint16_t len);
/* Makes n == want slots, all full; fewer when the pool runs out. Answers n. */
unsigned scatter_fill(struct scatter *s, struct rte_mempool *pool, unsigned want);
/* Takes the mbufs of slots 0..n-1 out; each with its length set but for the last one's. */
void scatter_take(struct scatter *s, struct rte_mbuf **pkts, unsigned n, uint16_t last_len);
struct rte_mbuf *scatter_take_one(struct scatter *s, unsigned slot, uint16_t len);
void scatter_free(struct scatter *s);

/* How many bytes may land in an mbuf. */
static inline uint16_t scatter_room(const struct scatter *s, const struct rte_mbuf *m)
{
	uint32_t taken = RTE_PKTMBUF_HEADROOM + s->reserve;

	return m->buf_len > taken ? m->buf_len - taken : 0;
}

static inline size_t scatter_expected(const struct scatter *s, unsigned slots)
{
	return s->lead + (size_t)s->len * slots;
}

/* Empty mbufs, as many as `n`; one when the pool is nearly empty; 0. */
static inline unsigned scatter_alloc(struct rte_mempool *pool, struct rte_mbuf **pkts, unsigned n)
{
	if (rte_pktmbuf_alloc_bulk(pool, pkts, n) == 0)
		return n;
	return rte_pktmbuf_alloc_bulk(pool, pkts, 1) == 0;
}

/* Copies the next n bytes. The caller knows that they are there. */
void scatter_read(struct scatter_cursor *c, void *to, size_t n);
void scatter_skip(struct scatter_cursor *c, size_t n);
