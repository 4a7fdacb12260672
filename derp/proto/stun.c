/* SPDX-License-Identifier: BSD-3-Clause */
/* Any thread. */
#include "stun.h"

#include <string.h>

#define HEADER_SIZE 20
#define ATTRIBUTE_SIZE 4 /* type and length; the value is padded to 4 bytes */
#define FINGERPRINT_SIZE 8
#define FINGERPRINT_XOR 0x5354554eu /* "STUN" */
#define COOKIE 0x2112a442u

enum { BINDING_REQUEST = 0x0001, BINDING_ANSWER = 0x0101 };
enum { XOR_MAPPED_ADDRESS = 0x0020, SOFTWARE = 0x8022, FINGERPRINT = 0x8028 };
enum { FAMILY_IPV4 = 1, FAMILY_IPV6 = 2 };

static const char software[8] = "tailnode";

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, (uint16_t)(value >> 16));
	put16(at + 2, (uint16_t)value);
}

/*
 * CRC-32 of IEEE 802.3, four bytes at a time: a table for each place that a byte may have among
 * them. The tables are linear: an entry is the XOR of those of its bits.
 */
#define ENTRY(n, b0, b1, b2, b3, b4, b5, b6, b7)                                     \
	(((n)&1 ? b0 : 0) ^ ((n)&2 ? b1 : 0) ^ ((n)&4 ? b2 : 0) ^ ((n)&8 ? b3 : 0) ^ \
		((n)&16 ? b4 : 0) ^ ((n)&32 ? b5 : 0) ^ ((n)&64 ? b6 : 0) ^ ((n)&128 ? b7 : 0))
#define ENTRIES_4(n, ...)                                                                \
	ENTRY(n, __VA_ARGS__), ENTRY((n) + 1, __VA_ARGS__), ENTRY((n) + 2, __VA_ARGS__), \
		ENTRY((n) + 3, __VA_ARGS__)
#define ENTRIES_16(n, ...)                                          \
	ENTRIES_4(n, __VA_ARGS__), ENTRIES_4((n) + 4, __VA_ARGS__), \
		ENTRIES_4((n) + 8, __VA_ARGS__), ENTRIES_4((n) + 12, __VA_ARGS__)
#define ENTRIES_64(n, ...)                                             \
	ENTRIES_16(n, __VA_ARGS__), ENTRIES_16((n) + 16, __VA_ARGS__), \
		ENTRIES_16((n) + 32, __VA_ARGS__), ENTRIES_16((n) + 48, __VA_ARGS__)
#define ENTRIES_256(n, ...)                                            \
	ENTRIES_64(n, __VA_ARGS__), ENTRIES_64((n) + 64, __VA_ARGS__), \
		ENTRIES_64((n) + 128, __VA_ARGS__), ENTRIES_64((n) + 192, __VA_ARGS__)

static const uint32_t crc_tables[4][256] = {
	{ENTRIES_256(0, 0x77073096, 0xee0e612c, 0x076dc419, 0x0edb8832, 0x1db71064, 0x3b6e20c8,
		0x76dc4190, 0xedb88320)},
	{ENTRIES_256(0, 0x191b3141, 0x32366282, 0x646cc504, 0xc8d98a08, 0x4ac21251, 0x958424a2,
		0xf0794f05, 0x3b83984b)},
	{ENTRIES_256(0, 0x01c26a37, 0x0384d46e, 0x0709a8dc, 0x0e1351b8, 0x1c26a370, 0x384d46e0,
		0x709a8dc0, 0xe1351b80)},
	{ENTRIES_256(0, 0xb8bc6765, 0xaa09c88b, 0x8f629757, 0xc5b428ef, 0x5019579f, 0xa032af3e,
		0x9b14583d, 0xed59b63b)},
};

/* Of so many bytes, a multiple of four: headers and attributes are. */
static uint32_t fingerprint(const uint8_t *bytes, size_t len)
{
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < len; i += 4)
		crc = crc_tables[3][(crc ^ bytes[i]) & 0xff] ^
		      crc_tables[2][(crc >> 8 ^ bytes[i + 1]) & 0xff] ^
		      crc_tables[1][(crc >> 16 ^ bytes[i + 2]) & 0xff] ^
		      crc_tables[0][crc >> 24 ^ bytes[i + 3]];
	return ~crc ^ FINGERPRINT_XOR;
}

static void write_header(
	uint8_t *out, uint16_t type, uint16_t len, const uint8_t txid[static STUN_TXID_SIZE])
{
	put16(out, type);
	put16(out + 2, len);
	put32(out + 4, COOKIE);
	memcpy(out + 8, txid, STUN_TXID_SIZE);
}

/* The attribute at `at`: its whole size; 0: it does not fit. */
static size_t attribute_size(const uint8_t *bytes, size_t at, size_t len)
{
	size_t size;

	if (len - at < ATTRIBUTE_SIZE)
		return 0;
	size = ATTRIBUTE_SIZE + ((get16(bytes + at + 2) + 3u) & ~3u);
	return size <= len - at ? size : 0;
}

static bool has_header(const uint8_t *bytes, size_t len, uint16_t type)
{
	return len >= HEADER_SIZE && get16(bytes) == type && get32(bytes + 4) == COOKIE &&
	       get16(bytes + 2) == len - HEADER_SIZE;
}

bool stun_request_read(const uint8_t *bytes, size_t len, uint8_t txid[static STUN_TXID_SIZE])
{
	bool ours = false;
	size_t size, last = 0;

	if (!has_header(bytes, len, BINDING_REQUEST))
		return false;
	for (size_t at = HEADER_SIZE; at < len; at += size) {
		size = attribute_size(bytes, at, len);
		if (!size)
			return false;
		ours |= get16(bytes + at) == SOFTWARE &&
			get16(bytes + at + 2) == sizeof(software) &&
			!memcmp(bytes + at + ATTRIBUTE_SIZE, software, sizeof(software));
		last = at;
	}
	if (!ours || len - last != FINGERPRINT_SIZE || get16(bytes + last) != FINGERPRINT ||
		get16(bytes + last + 2) != 4 ||
		get32(bytes + last + ATTRIBUTE_SIZE) != fingerprint(bytes, last))
		return false;
	memcpy(txid, bytes + 8, STUN_TXID_SIZE);
	return true;
}

/* RFC 8489, 14.2: the address is XORed with the cookie and, behind it, the transaction: bytes 4 to
 * 19 of the header. */
static void xor_address(uint8_t *address, size_t len, const uint8_t *header)
{
	for (size_t i = 0; i < len; i++)
		address[i] ^= header[4 + i];
}

size_t stun_answer_write(uint8_t out[static STUN_ANSWER_MAX],
	const uint8_t txid[static STUN_TXID_SIZE], const struct net_endpoint *from)
{
	size_t len = from->addr.family == AF_INET ? 4 : 16;
	uint8_t *value = out + HEADER_SIZE + ATTRIBUTE_SIZE;

	write_header(out, BINDING_ANSWER, (uint16_t)(ATTRIBUTE_SIZE + 4 + len), txid);
	put16(out + HEADER_SIZE, XOR_MAPPED_ADDRESS);
	put16(out + HEADER_SIZE + 2, (uint16_t)(4 + len));
	put16(value, len == 4 ? FAMILY_IPV4 : FAMILY_IPV6);
	put16(value + 2, from->port ^ (COOKIE >> 16));
	memcpy(value + 4, from->addr.bytes, len);
	xor_address(value + 4, len, out);
	return HEADER_SIZE + ATTRIBUTE_SIZE + 4 + len;
}

void stun_request_write(
	uint8_t out[static STUN_REQUEST_SIZE], const uint8_t txid[static STUN_TXID_SIZE])
{
	size_t last = STUN_REQUEST_SIZE - FINGERPRINT_SIZE;

	write_header(out, BINDING_REQUEST, STUN_REQUEST_SIZE - HEADER_SIZE, txid);
	put16(out + HEADER_SIZE, SOFTWARE);
	put16(out + HEADER_SIZE + 2, sizeof(software));
	memcpy(out + HEADER_SIZE + ATTRIBUTE_SIZE, software, sizeof(software));
	put16(out + last, FINGERPRINT);
	put16(out + last + 2, 4);
	put32(out + last + ATTRIBUTE_SIZE, fingerprint(out, last));
}

/* derper answers IPv4 so, on its socket for both families. */
static void unmap(struct net_addr *addr)
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

	if (addr->family != AF_INET6 || memcmp(addr->bytes, prefix, sizeof(prefix)) != 0)
		return;
	addr->family = AF_INET;
	memmove(addr->bytes, addr->bytes + 12, 4);
	memset(addr->bytes + 4, 0, 12);
}

static bool mapped_read(const uint8_t *bytes, size_t at, struct net_endpoint *seen)
{
	const uint8_t *value = bytes + at + ATTRIBUTE_SIZE;
	size_t len = get16(bytes + at + 2);

	if (!(len == 8 && value[1] == FAMILY_IPV4) && !(len == 20 && value[1] == FAMILY_IPV6))
		return false;
	*seen = (struct net_endpoint){.port = get16(value + 2) ^ (COOKIE >> 16)};
	seen->addr.family = len == 8 ? AF_INET : AF_INET6;
	memcpy(seen->addr.bytes, value + 4, len - 4);
	xor_address(seen->addr.bytes, len - 4, bytes);
	unmap(&seen->addr);
	return true;
}

bool stun_answer_read(const uint8_t *bytes, size_t len, const uint8_t txid[static STUN_TXID_SIZE],
	struct net_endpoint *seen)
{
	size_t size;

	if (!has_header(bytes, len, BINDING_ANSWER) || memcmp(bytes + 8, txid, STUN_TXID_SIZE) != 0)
		return false;
	for (size_t at = HEADER_SIZE; at < len; at += size) {
		size = attribute_size(bytes, at, len);
		if (!size)
			return false;
		if (get16(bytes + at) == XOR_MAPPED_ADDRESS)
			return mapped_read(bytes, at, seen);
	}
	return false;
}
