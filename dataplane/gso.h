/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Super-packets of a TUN with virtio-net headers: cutting one into packets (gso_split.c), joining
 * packets into some (gso_join.c). Bytes in, bytes and decisions out: no descriptors, no mbufs, no
 * globals. Any thread. Sources: virtio 1.2, 5.1.6; Linux'
 * Documentation/networking/segmentation-offloads.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/virtio_net.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5 /* Linux 6.2 */
#endif

/* With num_buffers: 12 bytes, so that what follows stays 4-byte aligned. Fields in host order. */
#define VNET_HEADER_LEN sizeof(struct virtio_net_hdr_v1)

/* IPv4 or IPv6 header, options or extension headers, TCP header: more is malformed. */
#define GSO_HEADER_MAX 256
#define GSO_UDP_SEGMENTS_MAX 64 /* the kernel's UDP_MAX_SEGMENTS (128 since 6.11) */
#define GSO_PACKET_MAX 65535    /* total length of an IPv4 packet */

/* Hash of addresses, protocol and ports, the same for both directions of a flow. */
uint32_t flow_hash(const uint8_t *packet, size_t len);

/* ---- cutting -------------------------------------------------------------------------------- */

/* What a super-packet's header says, and the parts of its sums that all segments share. */
struct gso_super {
	uint16_t size;       /* payload bytes of each segment but the last */
	uint16_t header_len; /* IP to the end of TCP or UDP */
	uint16_t l4_offset;
	uint16_t id;  /* IPv4 */
	uint32_t seq; /* TCP */
	uint8_t proto;
	uint8_t tcp_flags;
	bool v6;
	uint64_t ip_sum, l4_sum;
	uint8_t header[GSO_HEADER_MAX];
};

static inline bool gso_is_super(const struct virtio_net_hdr_v1 *vh)
{
	return vh->gso_type != VIRTIO_NET_HDR_GSO_NONE;
}

/* Reads a super-packet of `total` bytes whose first `contiguous` lie at `packet` (GSO_HEADER_MAX of
 * them are always enough). False if virtio header and packet contradict each other. */
bool gso_super_parse(struct gso_super *s, const struct virtio_net_hdr_v1 *vh, const uint8_t *packet,
	size_t contiguous, size_t total) __attribute__((warn_unused_result));

static inline size_t gso_super_segments(const struct gso_super *s, size_t total)
{
	size_t payload = total - s->header_len;

	return payload <= s->size ? 1 : (payload + s->size - 1) / s->size;
}

/* Writes the header of segment `index` at `segment`, whose payload of `payload_len` bytes stands at
 * segment + header_len already: lengths, id, sequence, flags, checksums. */
void gso_segment_finish(
	const struct gso_super *s, size_t index, bool last, uint8_t *segment, size_t payload_len);

/* A packet that is none: completes the checksum that the kernel left partial. False if the virtio
 * header points outside of the packet. */
bool gso_plain_finish(const struct virtio_net_hdr_v1 *vh, uint8_t *packet, size_t len)
	__attribute__((warn_unused_result));

/* ---- joining -------------------------------------------------------------------------------- */

#define JOIN_BURST_MAX 256
#define JOIN_OPEN_MAX 8 /* flows that are joined at a time within a burst */

enum segment_kind {
	SEGMENT_JOINABLE,
	SEGMENT_ALONE,  /* of a flow, but not to be joined: it ends the flow's group */
	SEGMENT_OTHER,  /* no TCP or UDP: no order to keep with those */
	SEGMENT_OPAQUE, /* fragments, options, extension headers: may belong to any flow */
};

/* What joining needs to know of a packet. */
struct segment {
	uint8_t kind;
	uint8_t proto;
	bool v6;
	bool push;
	uint16_t l4_offset, header_len, payload_len;
	uint16_t id;
	uint32_t seq;
	uint32_t hash;
};

/* Packets that leave in one write, linked in order through join_burst.next. */
struct join_group {
	uint16_t first, last, count;
	uint16_t size;  /* payload of each but the last; all of it fits GSO_PACKET_MAX with the
			   header */
	uint32_t total; /* bytes with one header */
	bool closed;    /* nothing may follow the last */
	bool verified;  /* the first's checksums are right */
};

struct join_burst {
	unsigned n_groups;
	struct join_group groups[JOIN_BURST_MAX]; /* to be written in this order */
	struct segment segments[JOIN_BURST_MAX];
	uint16_t next[JOIN_BURST_MAX];
};

void segment_parse(struct segment *s, const uint8_t *packet, size_t len);

/* Groups n <= JOIN_BURST_MAX packets: consecutive segments of a flow that differ in length, id,
 * sequence, checksum and PSH alone, and whose checksums are right (a wrong one must reach its
 * receiver as it is). The order within a flow is kept. */
void join_burst(
	struct join_burst *j, uint8_t *const *packets, const uint16_t *lens, unsigned n, bool udp);

/* Makes the first packet's header that of the whole group and fills the virtio header: with one
 * packet, "nothing known". Write the first packet, then the others from their header_len on. */
void join_finish(const struct join_burst *j, const struct join_group *g, uint8_t *const *packets,
	struct virtio_net_hdr_v1 *vh);
