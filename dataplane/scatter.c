/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs on workers; scatter_free on the control loop, after the worker let go of the queue. */
#include "scatter.h"

#include <string.h>

static void slot_point(struct scatter *s, unsigned i)
{
	struct rte_mbuf *m = s->slot[i];
	uint16_t room = scatter_room(s, m), lead = i ? s->lead : 0;
	uint16_t len = s->len ? s->len + s->lead - lead : room;
	uint8_t *at = (uint8_t *)m->buf_addr + RTE_PKTMBUF_HEADROOM;

	if (lead > room)
		lead = room;
	if (len > room - lead)
		len = room - lead;
	s->iov[1 + i] = (struct iovec){.iov_base = at + lead, .iov_len = len};
}

void scatter_shape(struct scatter *s, uint16_t lead, uint16_t len)
{
	if (s->lead == lead && s->len == len)
		return;
	s->lead = lead;
	s->len = len;
	for (unsigned i = 0; i < s->n; i++)
		if (s->slot[i])
			slot_point(s, i);
}

static void compact(struct scatter *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->n; i++) {
		if (!s->slot[i])
			continue;
		s->slot[n] = s->slot[i];
		slot_point(s, n++);
	}
	s->n = n;
}

unsigned scatter_fill(struct scatter *s, struct rte_mempool *pool, unsigned want)
{
	struct rte_mbuf *fresh[SCATTER_MAX];
	unsigned holes = 0;

	if (want > SCATTER_MAX)
		want = SCATTER_MAX;
	if (s->n > want)
		rte_pktmbuf_free_bulk(s->slot + want, s->n - want);
	for (unsigned i = s->n; i < want; i++)
		s->slot[i] = NULL;
	s->n = want;
	for (unsigned i = 0; i < want; i++)
		holes += !s->slot[i];
	if (!holes)
		return want;
	if (rte_pktmbuf_alloc_bulk(pool, fresh, holes) < 0) {
		compact(s);
		if (!s->n && scatter_alloc(pool, s->slot, 1))
			slot_point(s, s->n++);
		return s->n;
	}
	for (unsigned i = 0; i < want; i++) {
		if (s->slot[i])
			continue;
		s->slot[i] = fresh[--holes];
		slot_point(s, i);
	}
	return want;
}

struct rte_mbuf *scatter_take_one(struct scatter *s, unsigned slot, uint16_t len)
{
	struct rte_mbuf *m = s->slot[slot];

	m->data_len = len;
	m->pkt_len = len;
	s->slot[slot] = NULL;
	return m;
}

void scatter_take(struct scatter *s, struct rte_mbuf **pkts, unsigned n, uint16_t last_len)
{
	for (unsigned i = 0; i < n; i++)
		pkts[i] = scatter_take_one(s, i, i == n - 1 ? last_len : s->lead + s->len);
}

void scatter_free(struct scatter *s)
{
	for (unsigned i = 0; i < s->n; i++)
		rte_pktmbuf_free(s->slot[i]);
	s->n = 0;
}

void scatter_read(struct scatter_cursor *c, void *to, size_t n)
{
	uint8_t *p = to;

	while (n) {
		size_t here = c->iov->iov_len - c->offset;

		if (here > n)
			here = n;
		if (!here) {
			*c = (struct scatter_cursor){.iov = c->iov + 1};
			continue;
		}
		memcpy(p, (const uint8_t *)c->iov->iov_base + c->offset, here);
		scatter_skip(c, here);
		p += here;
		n -= here;
	}
}

void scatter_skip(struct scatter_cursor *c, size_t n)
{
	while (n) {
		size_t here = c->iov->iov_len - c->offset;

		if (here > n) {
			c->offset += n;
			return;
		}
		n -= here;
		c->iov++;
		c->offset = 0;
	}
}
