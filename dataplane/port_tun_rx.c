/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets from the kernel: one readv per super-packet, scattered so that each segment's payload
 * lands where its packet will be. The guess is the shape of the super-packet before: header length
 * and segment size seldom change on a queue while there is much to carry. Runs on workers.
 */
#include "port_tun.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Enough for a burst: no further system call to fill it up. */
#define RX_ENOUGH (NODE_BURST_MAX / 2)
/* Below this a segment is cheap to copy, and the header might not lie in the first mbuf. */
#define GUESS_MIN GSO_HEADER_MAX
#define QUIET_MAX 16 /* plain packets, then room for a super-packet is only in the way */

void tun_queue_die(struct port_queue *q)
{
	struct tun_queue *t = q->private;
	int quiet = epoll_create1(EPOLL_CLOEXEC); /* never readable, and refuses writes */

	/* partner: tun_describe; a fact for the eye */
	atomic_store_explicit(&t->dead, true, memory_order_relaxed);
	/* A dead queue is always readable, which would keep its worker awake for ever. */
	if (quiet >= 0 && dup3(quiet, q->fd, O_CLOEXEC) >= 0)
		close(quiet);
}

/* All packets of a super-packet landed in their mbufs: write their headers. */
static void finish_in_place(struct tun_queue *t, size_t total, unsigned n)
{
	const struct gso_super *s = &t->super;
	uint16_t last = total - s->header_len - (size_t)(n - 1) * s->size;

	scatter_take(&t->in, t->ready, n, s->header_len + last);
	for (unsigned i = 0; i < n; i++)
		gso_segment_finish(s, i, i == n - 1, rte_pktmbuf_mtod(t->ready[i], uint8_t *),
			i == n - 1 ? last : s->size);
	t->ready_end = n;
}

static void super_landed(struct worker *w, struct port_queue *q, struct tun_queue *t, size_t total)
{
	struct gso_super *s = &t->super;
	const struct iovec *first = &t->in.iov[1];
	uint16_t room = scatter_room(&t->in, t->in.slot[0]);
	size_t n;

	if (!gso_super_parse(s, &t->header, first->iov_base, first->iov_len, total)) {
		tun_drop(w, q, TUN_DROP_RX_MALFORMED, 1);
		return;
	}
	n = gso_super_segments(s, total);
	if (n == 1 ? total > room : (size_t)s->header_len + s->size > room) {
		tun_drop(w, q, TUN_DROP_RX_TOO_BIG, n);
		return;
	}
	t->rx_supers++;
	t->quiet = 0;
	if (s->size >= GUESS_MIN && s->header_len + s->size <= room) {
		t->next_lead = s->header_len;
		t->next_len = s->size;
	}
	if (t->in.lead == s->header_len && t->in.len == s->size &&
		total <= scatter_expected(&t->in, t->in.n)) {
		finish_in_place(t, total, n);
		return;
	}
	t->rx_copied++;
	t->cursor = (struct scatter_cursor){.iov = first};
	scatter_skip(&t->cursor, s->header_len);
	t->left = total - s->header_len;
	t->index = 0;
	if (!t->left) /* a header alone: nothing to cut */
		finish_in_place(t, total, 1);
}

static void plain_landed(struct worker *w, struct port_queue *q, struct tun_queue *t, size_t total)
{
	struct rte_mbuf *m = t->in.slot[0];
	size_t first = t->in.iov[1].iov_len;
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

	if (t->next_len && ++t->quiet == QUIET_MAX)
		t->next_lead = t->next_len = t->quiet = 0;
	if (total > scatter_room(&t->in, m)) {
		tun_drop(w, q, TUN_DROP_RX_TOO_BIG, 1);
		return;
	}
	if (total > first) {
		t->cursor = (struct scatter_cursor){.iov = &t->in.iov[2]};
		scatter_read(&t->cursor, p + first, total - first);
	}
	if (!gso_plain_finish(&t->header, p, total)) {
		tun_drop(w, q, TUN_DROP_RX_MALFORMED, 1);
		return;
	}
	scatter_take(&t->in, t->ready, 1, total);
	t->ready_end = 1;
}

/* One system call; false: nothing there, or nowhere to put it. */
static bool queue_read(struct worker *w, struct port_queue *q, struct tun_queue *t)
{
	unsigned slots;
	size_t total;
	ssize_t got;

	scatter_shape(&t->in, t->next_lead, t->next_len);
	slots = scatter_fill(
		&t->in, w->pool, t->next_len ? SCATTER_BYTES_MAX / t->next_len + 1 : 1);
	if (!slots)
		return false;
	t->in.iov[0] = (struct iovec){.iov_base = &t->header, .iov_len = sizeof(t->header)};
	t->in.iov[1 + slots] = (struct iovec){.iov_base = t->rest, .iov_len = sizeof(t->rest)};
	got = readv(q->fd, t->in.iov, slots + 2);
	if (got < 0) {
		if (errno == EBADFD)
			tun_queue_die(q);
		return false;
	}
	q->counters.rx_calls++;
	t->ready_at = t->ready_end = 0;
	if ((size_t)got <= sizeof(t->header)) {
		tun_drop(w, q, TUN_DROP_RX_MALFORMED, 1);
		return true;
	}
	total = (size_t)got - sizeof(t->header);
	if (total > scatter_expected(&t->in, slots) + sizeof(t->rest)) {
		tun_drop(w, q, TUN_DROP_RX_TOO_BIG, 1); /* the kernel says how long it was */
		return true;
	}
	t->packet.tun_hash = flow_hash(
		t->in.iov[1].iov_base, total < t->in.iov[1].iov_len ? total : t->in.iov[1].iov_len);
	if (gso_is_super(&t->header))
		super_landed(w, q, t, total);
	else
		plain_landed(w, q, t, total);
	return true;
}

/* Copies the next segments of a super-packet that did not land as guessed. */
static uint16_t copy_out(
	struct worker *w, struct tun_queue *t, struct rte_mbuf **pkts, uint16_t max)
{
	const struct gso_super *s = &t->super;
	size_t n = (t->left + s->size - 1) / s->size;

	if (n > max)
		n = max;
	n = scatter_alloc(w->pool, pkts, n);
	for (size_t i = 0; i < n; i++) {
		uint16_t len = t->left < s->size ? t->left : s->size;
		uint8_t *p = (uint8_t *)rte_pktmbuf_append(pkts[i], s->header_len + len);

		scatter_read(&t->cursor, p + s->header_len, len);
		t->left -= len;
		gso_segment_finish(s, t->index++, !t->left, p, len);
	}
	return n;
}

static uint16_t hand_out(
	struct worker *w, struct tun_queue *t, struct rte_mbuf **pkts, uint16_t max)
{
	uint16_t n = 0;

	if (t->left)
		return copy_out(w, t, pkts, max);
	while (n < max && t->ready_at < t->ready_end)
		pkts[n++] = t->ready[t->ready_at++];
	return n;
}

uint16_t tun_rx(struct worker *w, struct port_queue *q, struct rte_mbuf **pkts, uint16_t max)
{
	struct tun_queue *t = q->private;
	unsigned reads = 0;
	uint16_t n = 0;

	t->packet.in_port = q->port->index;
	for (;;) {
		uint16_t got = hand_out(w, t, pkts + n, max - n);

		for (uint16_t i = n; i < n + got; i++) {
			*packet_of(pkts[i]) = t->packet;
			q->counters.rx_bytes += pkts[i]->pkt_len;
		}
		n += got;
		if (n >= RX_ENOUGH || n == max || t->left || ++reads > max || !queue_read(w, q, t))
			break;
	}
	q->counters.rx_packets += n;
	return n;
}
