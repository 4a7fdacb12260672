/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Joining packets into super-packets for one write to a TUN. A burst holds a few flows,
 * interleaved; each open flow has one group that still grows. A packet joins the latest group of
 * its flow or opens the next one, and groups are written in the order in which they were opened: so
 * the order within a flow is kept, whatever does not fit.
 *
 * The kernel takes a joined packet's checksum as ours to vouch for, and never looks at the payload
 * again. So what is joined was verified here; what is wrong goes alone, with its wrong checksum,
 * and its receiver drops it. A packet without a neighbour to join is not summed here at all.
 *
 * Joined is what the kernel's own GRO would join, so that nothing new appears on the wire if the
 * super-packet is forwarded and cut again. Pure; runs on workers.
 */
#include "gso.h"

#include <netinet/in.h>

#include "checksum.h"
#include "gso_wire.h"

#define NO_GROUP UINT16_MAX

static void parse_tcp(struct segment *s, const uint8_t *l4, size_t n)
{
	size_t len = n < TCP_HEADER_LEN ? 0 : (l4[TCP_OFFSET] >> 4) * 4;
	uint8_t flags;

	if (len < TCP_HEADER_LEN || len > n)
		return;
	flags = l4[TCP_FLAGS];
	s->header_len = s->l4_offset + len;
	s->payload_len = n - len;
	s->seq = get32(l4 + TCP_SEQ);
	s->push = flags & TCP_PSH;
	/* The low bits of the offset byte belong to accurate ECN: they are flags too. */
	if (s->payload_len && !(l4[TCP_OFFSET] & 0x0f) &&
		!(flags & ~(TCP_ACK_FLAG | TCP_PSH | TCP_ECE)))
		s->kind = SEGMENT_JOINABLE;
}

static void parse_udp(struct segment *s, const uint8_t *l4, size_t n)
{
	if (n <= UDP_HEADER_LEN || get16(l4 + UDP_LEN) != n || !get16(l4 + UDP_CHECK))
		return;
	s->header_len = s->l4_offset + UDP_HEADER_LEN;
	s->payload_len = n - UDP_HEADER_LEN;
	s->kind = SEGMENT_JOINABLE;
}

/* Fills in proto and l4_offset; false if the header is not the plain one that joining knows. */
static bool parse_ip(struct segment *s, const uint8_t *p, size_t len)
{
	if (len > GSO_PACKET_MAX)
		return false;
	if (len >= IP4_HEADER_LEN && p[0] == 0x45) {
		if (get16(p + IP4_LEN) != len || get16(p + IP4_FRAGMENT) & ~IP4_DONT_FRAGMENT)
			return false;
		s->proto = p[IP4_PROTO];
		s->l4_offset = IP4_HEADER_LEN;
		s->id = get16(p + IP4_ID);
		return true;
	}
	if (len >= IP6_HEADER_LEN && p[0] >> 4 == 6 && get16(p + IP6_LEN) == len - IP6_HEADER_LEN) {
		s->proto = p[IP6_NEXT];
		s->l4_offset = IP6_HEADER_LEN;
		s->v6 = true;
		return s->proto == IPPROTO_TCP || s->proto == IPPROTO_UDP ||
		       s->proto == IPPROTO_ICMPV6;
	}
	return false;
}

void segment_parse(struct segment *s, const uint8_t *packet, size_t len)
{
	*s = (struct segment){.kind = SEGMENT_OPAQUE};
	if (!parse_ip(s, packet, len))
		return;
	if (s->proto != IPPROTO_TCP && s->proto != IPPROTO_UDP) {
		s->kind = SEGMENT_OTHER;
		return;
	}
	if (len < s->l4_offset + 4u)
		return;
	s->kind = SEGMENT_ALONE;
	s->hash = flow_hash(packet, len);
	if (s->proto == IPPROTO_TCP)
		parse_tcp(s, packet + s->l4_offset, len - s->l4_offset);
	else
		parse_udp(s, packet + s->l4_offset, len - s->l4_offset);
}

static bool same_flow(
	const struct segment *a, const uint8_t *pa, const struct segment *b, const uint8_t *pb)
{
	if (a->hash != b->hash || a->proto != b->proto || a->v6 != b->v6)
		return false;
	if (memcmp(pa + a->l4_offset, pb + b->l4_offset, 4))
		return false;
	return a->v6 ? !memcmp(pa + 8, pb + 8, 32) : !memcmp(pa + 12, pb + 12, 8);
}

/* What must be equal in the IP headers of two segments of a flow. `distance` segments lie between
 * them; ids count, unless DF says that nobody reads them (RFC 6864). */
static bool ip_alike(const struct segment *a, const uint8_t *pa, const struct segment *b,
	const uint8_t *pb, uint16_t distance)
{
	if (a->v6)
		return !memcmp(pa, pb, 4) && pa[IP6_HOP_LIMIT] == pb[IP6_HOP_LIMIT];
	if (pa[IP4_TOS] != pb[IP4_TOS] || pa[IP4_TTL] != pb[IP4_TTL] ||
		pa[IP4_FRAGMENT] != pb[IP4_FRAGMENT])
		return false;
	return get16(pa + IP4_FRAGMENT) == IP4_DONT_FRAGMENT ||
	       (uint16_t)(a->id + distance) == b->id;
}

static bool tcp_alike(
	const struct segment *a, const uint8_t *pa, const struct segment *b, const uint8_t *pb)
{
	const uint8_t *ta = pa + a->l4_offset, *tb = pb + b->l4_offset;

	return a->header_len == b->header_len && !memcmp(ta + TCP_ACK, tb + TCP_ACK, 4) &&
	       !((ta[TCP_FLAGS] ^ tb[TCP_FLAGS]) & ~TCP_PSH) &&
	       !memcmp(ta + TCP_WINDOW, tb + TCP_WINDOW, 2) &&
	       !memcmp(ta + TCP_URGENT, tb + TCP_URGENT, a->header_len - a->l4_offset - TCP_URGENT);
}

static bool checksums_right(const struct segment *s, const uint8_t *p)
{
	size_t l4_len = s->header_len - s->l4_offset + s->payload_len;
	uint64_t sum = checksum_pseudo(p, s->v6, s->proto);

	if (!s->v6 && checksum_fold(checksum_add(0, p, IP4_HEADER_LEN)) != 0xffff)
		return false;
	sum = checksum_add16(sum, l4_len);
	return checksum_fold(checksum_add(sum, p + s->l4_offset, l4_len)) == 0xffff;
}

/* Whether packet i may follow what group g holds. Sums last: all else is cheaper. */
static bool group_takes(
	const struct join_burst *j, struct join_group *g, uint8_t *const *packets, unsigned i)
{
	const struct segment *a = &j->segments[g->first], *b = &j->segments[i];
	const uint8_t *pa = packets[g->first], *pb = packets[i];

	if (g->closed || b->kind != SEGMENT_JOINABLE || b->payload_len > g->size ||
		g->total + b->payload_len > GSO_PACKET_MAX || !ip_alike(a, pa, b, pb, g->count))
		return false;
	if (a->proto == IPPROTO_TCP &&
		(b->seq != a->seq + (uint32_t)g->count * g->size || !tcp_alike(a, pa, b, pb)))
		return false;
	if (a->proto == IPPROTO_UDP && g->count == GSO_UDP_SEGMENTS_MAX)
		return false;
	if (!g->verified && !checksums_right(a, pa))
		return false;
	g->verified = true;
	return checksums_right(b, pb);
}

static void group_add(struct join_burst *j, struct join_group *g, unsigned i)
{
	const struct segment *s = &j->segments[i];

	j->next[g->last] = i;
	g->last = i;
	g->count++;
	g->total += s->payload_len;
	g->closed = s->payload_len < g->size || s->push;
}

static uint16_t group_open(struct join_burst *j, unsigned i, size_t len)
{
	const struct segment *s = &j->segments[i];
	struct join_group *g = &j->groups[j->n_groups];

	*g = (struct join_group){
		.first = i,
		.last = i,
		.count = 1,
		.size = s->payload_len,
		.total = len,
		.closed = s->kind != SEGMENT_JOINABLE || s->push,
	};
	return j->n_groups++;
}

/* The groups that still grow, by flow. */
struct open_groups {
	uint16_t group[JOIN_OPEN_MAX];
	unsigned oldest;
};

static void open_clear(struct open_groups *open)
{
	memset(open->group, 0xff, sizeof(open->group));
	open->oldest = 0;
}

/* Where the latest group of packet i's flow stands; NULL: none. */
static uint16_t *open_find(
	struct open_groups *open, const struct join_burst *j, uint8_t *const *packets, unsigned i)
{
	for (unsigned slot = 0; slot < JOIN_OPEN_MAX && open->group[slot] != NO_GROUP; slot++) {
		unsigned first = j->groups[open->group[slot]].first;

		if (same_flow(&j->segments[first], packets[first], &j->segments[i], packets[i]))
			return &open->group[slot];
	}
	return NULL;
}

static void flow_add(struct join_burst *j, struct open_groups *open, uint8_t *const *packets,
	unsigned i, size_t len)
{
	uint16_t *slot = open_find(open, j, packets, i);

	if (slot && group_takes(j, &j->groups[*slot], packets, i)) {
		group_add(j, &j->groups[*slot], i);
		return;
	}
	if (!slot)
		slot = &open->group[open->oldest++ % JOIN_OPEN_MAX];
	*slot = group_open(j, i, len);
}

void join_burst(
	struct join_burst *j, uint8_t *const *packets, const uint16_t *lens, unsigned n, bool udp)
{
	struct open_groups open;

	open_clear(&open);
	j->n_groups = 0;
	for (unsigned i = 0; i < n; i++) {
		struct segment *s = &j->segments[i];

		segment_parse(s, packets[i], lens[i]);
		if (s->kind == SEGMENT_JOINABLE && s->proto == IPPROTO_UDP && !udp)
			s->kind = SEGMENT_ALONE;
		if (s->kind == SEGMENT_JOINABLE || s->kind == SEGMENT_ALONE)
			flow_add(j, &open, packets, i, lens[i]);
		else
			group_open(j, i, lens[i]);
		if (s->kind == SEGMENT_OPAQUE)
			open_clear(&open);
	}
}

void join_finish(const struct join_burst *j, const struct join_group *g, uint8_t *const *packets,
	struct virtio_net_hdr_v1 *vh)
{
	const struct segment *s = &j->segments[g->first];
	uint8_t *p = packets[g->first], *l4 = p + s->l4_offset;
	uint64_t sum;

	*vh = (struct virtio_net_hdr_v1){.gso_type = VIRTIO_NET_HDR_GSO_NONE};
	if (g->count == 1)
		return;
	vh->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	vh->hdr_len = s->header_len;
	vh->gso_size = g->size;
	vh->csum_start = s->l4_offset;
	if (s->v6) {
		put16(p + IP6_LEN, g->total - IP6_HEADER_LEN);
	} else {
		put16(p + IP4_LEN, g->total);
		put16(p + IP4_CHECK, 0);
		put_sum(p + IP4_CHECK, checksum_finish(checksum_add(0, p, IP4_HEADER_LEN)));
	}
	sum = checksum_pseudo(p, s->v6, s->proto);
	sum = checksum_add16(sum, g->total - s->l4_offset);
	if (s->proto == IPPROTO_UDP) {
		vh->gso_type = VIRTIO_NET_HDR_GSO_UDP_L4;
		vh->csum_offset = UDP_CHECK;
		put16(l4 + UDP_LEN, g->total - s->l4_offset);
		put_sum(l4 + UDP_CHECK, checksum_fold(sum));
	} else {
		vh->gso_type = s->v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
		vh->csum_offset = TCP_CHECK;
		put_sum(l4 + TCP_CHECK, checksum_fold(sum));
		l4[TCP_FLAGS] |= j->segments[g->last].push ? TCP_PSH : 0;
	}
}
