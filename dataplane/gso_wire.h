/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Offsets and fields of IP, TCP and UDP headers, for the two halves of gso.h. */
#include <stdint.h>
#include <string.h>

#define IP4_TOS 1
#define IP4_LEN 2
#define IP4_ID 4
#define IP4_FRAGMENT 6 /* flags and offset */
#define IP4_TTL 8
#define IP4_PROTO 9
#define IP4_CHECK 10
#define IP4_HEADER_LEN 20
#define IP4_DONT_FRAGMENT 0x4000

#define IP6_LEN 4
#define IP6_NEXT 6
#define IP6_HOP_LIMIT 7
#define IP6_HEADER_LEN 40

#define TCP_SEQ 4
#define TCP_ACK 8
#define TCP_OFFSET 12
#define TCP_FLAGS 13
#define TCP_WINDOW 14
#define TCP_CHECK 16
#define TCP_URGENT 18
#define TCP_HEADER_LEN 20

#define UDP_LEN 4
#define UDP_CHECK 6
#define UDP_HEADER_LEN 8

#define TCP_FIN 0x01
#define TCP_PSH 0x08
#define TCP_ACK_FLAG 0x10
#define TCP_ECE 0x40
#define TCP_CWR 0x80

static inline uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static inline void put16(uint8_t *p, uint16_t v)
{
	p[0] = v >> 8;
	p[1] = v & 0xff;
}

static inline void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

/* A checksum field, in memory order as checksum.h gives it. */
static inline void put_sum(uint8_t *p, uint16_t sum)
{
	memcpy(p, &sum, sizeof(sum));
}
