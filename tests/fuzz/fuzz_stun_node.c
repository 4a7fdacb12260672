/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames of an Ethernet port through classify and `stun`. What is answered has to be a request, and
 * its answer sound; what goes on has to be as it came. The first byte says whether the NIC vouches
 * for checksums, so that changed headers come further. Each input runs twice, with different bytes
 * behind the frame in its buffer.
 */
#include <stdint.h>

#include "nodes.h"
#include "packets.h"
#include "stun.h"
#include "stun_ports.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECKSUMS_GOOD (RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD)

extern const struct node_object tailplane_nodes;

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void start(void)
{
	static const struct net_endpoint any[] = {{.addr.family = AF_INET, .port = STUN_PORT},
		{.addr.family = AF_INET6, .port = STUN_PORT}};

	fixture_start();
	address_add("2001:db8:1::1/64", MIRROR_PORT, 0);
	tailplane_nodes.attach();
	stun_ports_publish(any, 2, true);
}

/* `frame`: where the request was, at its IP header. */
static void answer_check(const struct rte_mbuf *m, const uint8_t *frame, uint32_t frame_len)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *), *udp;
	uint8_t txid[STUN_TXID_SIZE];
	struct net_endpoint seen;
	struct ip_info asked, info;
	uint32_t len;

	must(ip_parse(frame, frame_len, false, &asked) == IP_SOUND);
	must(stun_request_read(
		frame + asked.header_len + 8, asked.total_len - asked.header_len - 8, txid));
	must(m->nb_segs == 1 && m->pkt_len == m->data_len);
	must(ip_parse(ip, m->data_len, true, &info) == IP_SOUND && info.total_len == m->data_len);
	must(info.family == asked.family && info.protocol == IPPROTO_UDP);
	len = info.family == AF_INET ? 4 : 16;
	must(!memcmp(info.source, asked.destination, len) &&
		!memcmp(info.destination, asked.source, len));
	udp = ip + info.header_len;
	len = info.total_len - info.header_len;
	must(ip_sum_fold(ip_sum(udp, len, ip_pseudo_sum(&info, IPPROTO_UDP, len))) == 0);
	must(stun_answer_read(udp + 8, len - 8, txid, &seen));
	must(seen.addr.family == info.family &&
		!memcmp(seen.addr.bytes, info.destination, info.family == AF_INET ? 4 : 16));
	must(seen.port == (udp[2] << 8 | udp[3]));
}

/* A number for what became of it. */
static unsigned frame_run(const uint8_t *data, size_t size, uint64_t flags, uint8_t behind)
{
	const struct graph_node *node = tailplane_nodes.nodes[0];
	struct rte_mbuf *m = packet_new(data, size);
	uint16_t verdict;

	memset(rte_pktmbuf_mtod_offset(m, uint8_t *, size), behind, rte_pktmbuf_tailroom(m));
	packet_of(m)->in_port = MIRROR_PORT;
	m->ol_flags |= flags;
	verdict = run(&node_classify, &m);
	if (verdict == VERDICT_TAKEN) {
		for (unsigned class = 0; class < PUNT_CLASSES; class ++)
			while ((m = punted(class)))
				rte_pktmbuf_free(m);
		return verdict;
	}
	if (strcmp(verdict_name(&node_classify, verdict), "local_udp") == 0) {
		uint16_t l2_len = packet_of(m)->l2_len, len = m->data_len;

		verdict = run(node, &m);
		if (strcmp(verdict_name(node, verdict), "route") == 0)
			answer_check(m, data + l2_len, len - l2_len);
		else
			must(m->data_len == len && !memcmp(rte_pktmbuf_mtod(m, void *), data, len));
	}
	rte_pktmbuf_free(m);
	return verdict;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t flags = size && data[0] & 1 ? CHECKSUMS_GOOD : 0;

	if (!pool)
		start();
	if (size < 1 || size > 2000)
		return 0;
	if (frame_run(data + 1, size - 1, flags, 0x00) !=
		frame_run(data + 1, size - 1, flags, 0xff))
		abort();
	if (rte_mempool_in_use_count(pool) != 0)
		abort();
	return 0;
}
