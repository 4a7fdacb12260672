/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The Internet checksum (RFC 1071). Sums are kept unfolded in 64 bits, over words in the byte order
 * of memory: ones' complement addition does not care, as long as each block starts at an even
 * offset of what is summed. Any thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <netinet/in.h>

/* Adds the bytes of a block; an odd last byte counts as if a zero followed. A sum takes some
 * thousands of full-size packets before it can overflow. */
uint64_t checksum_add(uint64_t sum, const void *data, size_t len);

/* Adds a 16-bit value given in host order. */
static inline uint64_t checksum_add16(uint64_t sum, uint16_t value)
{
	return sum + htons(value);
}

/* The sum in 16 bits, as it lies in memory, not inverted: what a partial checksum field holds. */
static inline uint16_t checksum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* The checksum field for a sum, as it lies in memory. */
static inline uint16_t checksum_finish(uint64_t sum)
{
	return (uint16_t)~checksum_fold(sum);
}

/* The same for UDP, where zero would mean "none". */
static inline uint16_t checksum_finish_udp(uint64_t sum)
{
	uint16_t field = checksum_finish(sum);

	return field ? field : 0xffff;
}

/* The pseudo header of TCP and UDP but for its length: addresses of `ip` and the protocol. */
static inline uint64_t checksum_pseudo(const uint8_t *ip, bool v6, uint8_t proto)
{
	uint64_t sum = v6 ? checksum_add(0, ip + 8, 32) : checksum_add(0, ip + 12, 8);

	return checksum_add16(sum, proto);
}
