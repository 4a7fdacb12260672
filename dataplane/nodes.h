/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The built-in graph nodes, one file each. */
#include "worker.h"

extern const struct graph_node node_rx, node_inject, node_classify, node_reassemble, node_local,
	node_local_udp, node_wg_input, node_opened, node_help, node_route, node_wg_output,
	node_sealed, node_outer, node_icmp_error, node_fragment, node_fragments, node_neighbour,
	node_tx;
