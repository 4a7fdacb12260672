/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Super-packets as a kernel might hand them over, and bursts of packets to be joined. The first
 * byte chooses. Each packet lies in a heap block of exactly its size. What was joined must come
 * back when it is cut.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "gso.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *copy_of(const void *data, size_t size)
{
	void *p = malloc(size ? size : 1);

	if (!p)
		abort();
	return memcpy(p, data, size);
}

/* All segments of what parses: each must fit the block that the port would give it. */
static void cut(const struct virtio_net_hdr_v1 *vh, const uint8_t *packet, size_t size)
{
	size_t contiguous = size < GSO_HEADER_MAX ? size : GSO_HEADER_MAX, n;
	uint8_t *head = copy_of(packet, contiguous);
	struct gso_super s;

	if (!gso_super_parse(&s, vh, head, contiguous, size)) {
		free(head);
		return;
	}
	free(head);
	n = gso_super_segments(&s, size);
	for (size_t i = 0; i < n; i++) {
		size_t at = s.header_len + i * s.size, len = i == n - 1 ? size - at : s.size;
		uint8_t *segment;

		if (len > s.size || at + len > size)
			abort();
		segment = malloc(s.header_len + len);
		if (!segment)
			abort();
		memcpy(segment + s.header_len, packet + at, len);
		gso_segment_finish(&s, i, i == n - 1, segment, len);
		free(segment);
	}
}

static void fuzz_cut(const uint8_t *data, size_t size)
{
	struct virtio_net_hdr_v1 vh;
	uint8_t *packet;

	if (size < sizeof(vh))
		return;
	memcpy(&vh, data, sizeof(vh));
	packet = copy_of(data + sizeof(vh), size - sizeof(vh));
	cut(&vh, packet, size - sizeof(vh));
	(void)!gso_plain_finish(&vh, packet, size - sizeof(vh));
	flow_hash(packet, size - sizeof(vh));
	free(packet);
}

/* One's complement has two zeros, and ids of packets with DF are nobody's: what a receiver sees. */
static bool packets_equal(const uint8_t *a, const uint8_t *b, size_t len, const struct gso_super *s)
{
	size_t l4_check = s->l4_offset + (s->proto == IPPROTO_UDP ? 6u : 16u);

	for (size_t i = 0; i < len; i++) {
		bool free_field = !s->v6 && (i == 4 || i == 5 || i == 10 || i == 11);

		if (a[i] != b[i] && !free_field && i != l4_check && i != l4_check + 1)
			return false;
	}
	return true;
}

static void check_group(const struct join_burst *j, const struct join_group *g, uint8_t **packets,
	const uint16_t *lens, uint8_t *const *before)
{
	struct virtio_net_hdr_v1 vh;
	struct gso_super s;
	unsigned i = g->first;

	join_finish(j, g, packets, &vh);
	if (g->count == 1)
		return;
	if (!gso_super_parse(&s, &vh, packets[i], lens[i], g->total))
		abort();
	if (gso_super_segments(&s, g->total) != g->count)
		abort();
	for (unsigned k = 0; k < g->count; k++, i = j->next[i]) {
		uint8_t *segment = copy_of(packets[i], lens[i]);

		gso_segment_finish(&s, k, k == g->count - 1u, segment, lens[i] - s.header_len);
		if (!packets_equal(segment, before[i], lens[i], &s))
			abort();
		free(segment);
	}
}

/* Packets with two bytes of length before each. */
static void fuzz_join(const uint8_t *data, size_t size, bool udp)
{
	uint8_t *packets[JOIN_BURST_MAX] = {0}, *before[JOIN_BURST_MAX] = {0};
	uint16_t lens[JOIN_BURST_MAX] = {0};
	struct join_burst j;
	unsigned n = 0, seen = 0;

	for (; n < JOIN_BURST_MAX && size >= 2; n++) {
		size_t len = (size_t)(data[0] << 8 | data[1]);

		data += 2;
		size -= 2;
		if (len > size)
			len = size;
		packets[n] = copy_of(data, len);
		before[n] = copy_of(data, len);
		lens[n] = (uint16_t)len;
		data += len;
		size -= len;
	}
	join_burst(&j, packets, lens, n, udp);
	for (unsigned k = 0; k < j.n_groups; k++) {
		seen += j.groups[k].count;
		check_group(&j, &j.groups[k], packets, lens, before);
	}
	if (seen != n)
		abort();
	while (n--) {
		free(packets[n]);
		free(before[n]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] & 1)
		fuzz_join(data + 1, size - 1, data[0] & 2);
	else
		fuzz_cut(data + 1, size - 1);
	return 0;
}
