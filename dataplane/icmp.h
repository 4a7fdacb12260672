/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* ICMP messages made by this gateway. Pure functions over one packet; workers and control loop. */
#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

enum icmp_fault {
	ICMP_MADE,
	ICMP_NOT_ABOUT_THIS, /* RFC 1122, 3.2.2: no errors about such packets */
	ICMP_BROKEN,         /* what should be quoted is no IP packet */
	ICMP_NO_ROOM,
};

struct icmp_error {
	uint8_t type, code;    /* in the numbers of the packet's family */
	uint32_t mtu;          /* fragmentation needed, packet too big: to tell */
	const uint8_t *source; /* our address of the packet's family */
};

/* Whether an error may be told about the packet of `len` bytes at `ip` at all. */
enum icmp_fault icmp_error_allowed(const uint8_t *ip, uint32_t len);
/* Turns the IP packet in `m` into the error about it, addressed to its sender. On a fault `m` is
 * as it was. */
enum icmp_fault icmp_error_make(struct rte_mbuf *m, const struct icmp_error *error);
/* Turns an echo request into its reply; false (and `m` as it was) when it is none, or broken. */
bool icmp_echo_answer(struct rte_mbuf *m);
