/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames of an Ethernet port through classify, reassemble and what follows them for this host. Each
 * input is a row of frames, each with its length before it. It runs twice, with different bytes
 * behind each frame in its buffer: whoever reads behind the end comes to another result.
 */
#include <stdint.h>

#include "graph.h"
#include "nodes.h"
#include "packets.h"
#include "reassemble.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FRAMES_MAX 24
#define ROUNDS_MAX 8

static uint64_t result; /* of all verdicts and bytes so far */

static void result_add(const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < len; i++)
		result = (result ^ at[i]) * 0x100000001b3;
}

static void punts_take(void)
{
	for (unsigned class = 0; class < PUNT_CLASSES; class ++) {
		struct rte_mbuf *m;

		while ((m = punted(class))) {
			result_add(&class, sizeof(class));
			result_add(rte_pktmbuf_mtod(m, void *), m->data_len);
			rte_pktmbuf_free(m);
		}
	}
}

/* Along the edges that lead on inside of this host. */
static void frame_run(struct rte_mbuf *m)
{
	const struct graph_node *node = &node_classify;

	for (unsigned round = 0; round < ROUNDS_MAX; round++) {
		uint16_t verdict = run(node, &m);
		const char *name = verdict_name(node, verdict);

		result_add(name, strlen(name));
		if (verdict == VERDICT_TAKEN)
			return;
		if (m->nb_segs != 1 || m->data_len != m->pkt_len)
			abort();
		result_add(rte_pktmbuf_mtod(m, void *), m->data_len);
		if (strcmp(name, "reassemble") == 0)
			node = &node_reassemble;
		else if (strcmp(name, "classify") == 0)
			node = &node_classify;
		else if (strcmp(name, "local") == 0)
			node = &node_local;
		else if (strcmp(name, "local_udp") == 0)
			node = &node_local_udp;
		else
			break;
	}
	rte_pktmbuf_free(m);
}

static void frames_run(const uint8_t *data, size_t size, uint8_t behind)
{
	for (unsigned i = 0; i < FRAMES_MAX && size > 2; i++) {
		size_t len = RTE_MIN((size_t)(data[0] << 8 | data[1]) & 0x7ff, size - 2);
		struct rte_mbuf *m = packet_new(data + 2, len);

		memset(rte_pktmbuf_mtod_offset(m, uint8_t *, len), behind, rte_pktmbuf_tailroom(m));
		packet_of(m)->in_port = data[0] & 0x80 ? MIRROR_PORT : PLAIN_PORT;
		data += 2 + len;
		size -= 2 + len;
		frame_run(m);
		punts_take();
	}
}

static uint64_t pass(const uint8_t *data, size_t size, uint8_t behind)
{
	result = 0xcbf29ce484222325;
	if (reassemble_start(1, NULL) < 0)
		abort();
	frames_run(data, size, behind);
	reassemble_stop();
	if (rte_mempool_in_use_count(pool) != 0)
		abort(); /* a packet was lost, or kept by two */
	return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!pool) {
		fixture_start();
		graph_register_drops(node_reassemble.drops);
	}
	if (pass(data, size, 0x00) != pass(data, size, 0xff))
		abort();
	return 0;
}
