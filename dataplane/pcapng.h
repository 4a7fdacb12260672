/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Blocks of the pcapng format (draft-ietf-opsawg-pcapng), appended to a buffer. Pure; any thread.
 */
#include <stddef.h>
#include <stdint.h>

#define PCAPNG_LINK_ETHERNET 1
#define PCAPNG_LINK_RAW 101 /* starts at an IP header */

/* Enough for any block but the packet's own bytes. */
#define PCAPNG_BLOCK_MAX 256

enum pcapng_direction { PCAPNG_INBOUND = 1, PCAPNG_OUTBOUND = 2 };

/* Each returns the bytes written to `out`, which has room for PCAPNG_BLOCK_MAX (and `len`). */
size_t pcapng_section(uint8_t *out, const char *program);
size_t pcapng_interface(uint8_t *out, uint16_t link, uint32_t snaplen, const char *name);
size_t pcapng_packet(uint8_t *out, uint32_t interface, uint64_t unix_ns, const void *data,
	uint32_t len, uint32_t original_len, enum pcapng_direction direction);
