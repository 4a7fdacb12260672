/* SPDX-License-Identifier: BSD-3-Clause */
/* pcapng blocks in native byte order, with time stamps in nanoseconds. Pure. */
#include <string.h>

#include "pcapng.h"

enum { BLOCK_SECTION = 0x0a0d0d0a, BLOCK_INTERFACE = 1, BLOCK_PACKET = 6 };
enum { OPTION_END = 0, OPTION_NAME = 2, OPTION_FLAGS = 2, OPTION_PROGRAM = 4, OPTION_TSRESOL = 9 };

#define BYTE_ORDER_MAGIC 0x1a2b3c4d
#define TEXT_MAX 64

static size_t put(uint8_t *out, size_t at, const void *bytes, size_t len)
{
	static const uint8_t zero[4];
	size_t padding = (4 - len % 4) % 4;

	memcpy(out + at, bytes, len);
	memcpy(out + at + len, zero, padding);
	return at + len + padding;
}

static size_t put32(uint8_t *out, size_t at, uint32_t v)
{
	return put(out, at, &v, sizeof(v));
}

static size_t put_option(uint8_t *out, size_t at, uint16_t code, const void *value, size_t len)
{
	uint16_t head[2] = {code, (uint16_t)len};

	return put(out, put(out, at, head, sizeof(head)), value, len);
}

static size_t put_text(uint8_t *out, size_t at, uint16_t code, const char *text)
{
	size_t len = strnlen(text, TEXT_MAX);

	return put_option(out, at, code, text, len);
}

/* Fills in both lengths of the block that starts at `out`. */
static size_t close_block(uint8_t *out, size_t at)
{
	uint32_t len = (uint32_t)at + 4;

	memcpy(out + 4, &len, sizeof(len));
	return put32(out, at, len);
}

size_t pcapng_section(uint8_t *out, const char *program)
{
	static const uint16_t version[2] = {1, 0};
	int64_t unknown_length = -1;
	size_t at = put32(out, 0, BLOCK_SECTION);

	at = put32(out, at, 0);
	at = put32(out, at, BYTE_ORDER_MAGIC);
	at = put(out, at, version, sizeof(version));
	at = put(out, at, &unknown_length, sizeof(unknown_length));
	at = put_text(out, at, OPTION_PROGRAM, program);
	at = put_option(out, at, OPTION_END, "", 0);
	return close_block(out, at);
}

size_t pcapng_interface(uint8_t *out, uint16_t link, uint32_t snaplen, const char *name)
{
	uint16_t head[2] = {link, 0};
	uint8_t nanoseconds = 9;
	size_t at = put32(out, 0, BLOCK_INTERFACE);

	at = put32(out, at, 0);
	at = put(out, at, head, sizeof(head));
	at = put32(out, at, snaplen);
	at = put_text(out, at, OPTION_NAME, name);
	at = put_option(out, at, OPTION_TSRESOL, &nanoseconds, 1);
	at = put_option(out, at, OPTION_END, "", 0);
	return close_block(out, at);
}

size_t pcapng_packet(uint8_t *out, uint32_t interface, uint64_t unix_ns, const void *data,
	uint32_t len, uint32_t original_len, enum pcapng_direction direction)
{
	uint32_t flags = direction;
	size_t at = put32(out, 0, BLOCK_PACKET);

	at = put32(out, at, 0);
	at = put32(out, at, interface);
	at = put32(out, at, (uint32_t)(unix_ns >> 32));
	at = put32(out, at, (uint32_t)unix_ns);
	at = put32(out, at, len);
	at = put32(out, at, original_len);
	at = put(out, at, data, len);
	at = put_option(out, at, OPTION_FLAGS, &flags, sizeof(flags));
	at = put_option(out, at, OPTION_END, "", 0);
	return close_block(out, at);
}
