/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* ARP (RFC 826, RFC 5227) and IPv6 neighbour discovery (RFC 4861) as bytes. Pure functions. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NEIGH_FRAME_MAX 96

enum neigh_op { NEIGH_REQUEST, NEIGH_REPLY };

/* What an ARP packet, a neighbour solicitation or an advertisement says. */
struct neigh_packet {
	uint8_t op;         /* enum neigh_op */
	uint16_t family;    /* AF_INET, AF_INET6 */
	uint8_t sender[16]; /* who sent it; for an advertisement: whom it is about. Zero: a probe */
	uint8_t target[16]; /* request: who is asked for; ARP reply: who had asked */
	bool has_mac;
	uint8_t mac[6]; /* the sender's */
	bool solicited; /* reply: to a question, not out of the blue */
	bool override;  /* reply: replaces another MAC */
};

/* Bytes from the ARP or IPv6 header on. False: broken, or nothing that is looked at here (router
 * advertisements, redirects). */
bool arp_parse(const uint8_t *arp, uint32_t len, struct neigh_packet *out);
bool nd_parse(const uint8_t *ip, uint32_t len, struct neigh_packet *out);

/* What to build a frame from. */
struct neigh_frame {
	uint8_t op;
	uint16_t family, vlan;
	uint8_t our_mac[6], our_addr[16];
	uint8_t target[16]; /* request: who is asked for; reply: who gets it. Zero: all (announces)
			     */
	uint8_t target_mac[6]; /* zero: by broadcast or multicast */
};

/* The whole frame; returns its length, at most NEIGH_FRAME_MAX. */
size_t neigh_frame_build(const struct neigh_frame *f, uint8_t out[static NEIGH_FRAME_MAX]);
