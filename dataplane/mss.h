/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

/* Lowers the MSS option of a TCP SYN (in the IP packet at the start of `m`) to what fits into
 * `mtu`. True when it changed something. Pure function; workers. */
bool mss_clamp(struct rte_mbuf *m, uint16_t mtu);
/* The same for bytes. */
bool mss_clamp_bytes(uint8_t *ip, uint32_t len, uint16_t mtu);
