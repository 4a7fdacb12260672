/* SPDX-License-Identifier: BSD-3-Clause */
/* Records and the early payload. Runs on: any thread. */
#include <byteswap.h>
#include <errno.h>
#include <string.h>

#include "chapoly.h"
#include "ts2021.h"

ssize_t ts2021_record_len(const uint8_t *bytes, size_t n)
{
	size_t len;

	if (n && bytes[0] != TS2021_RECORD)
		return -EPROTO;
	if (n < TS2021_HEADER_LEN)
		return 0;
	len = (size_t)bytes[1] << 8 | bytes[2];
	if (len < TS2021_TAG_LEN || len > TS2021_FRAME_MAX - TS2021_HEADER_LEN)
		return -EPROTO;
	return (ssize_t)(TS2021_HEADER_LEN + len);
}

/* chapoly.h counts little-endian. */
ssize_t ts2021_open(struct ts2021_cipher *cipher, uint8_t *record, size_t len)
{
	uint8_t *text = record + TS2021_HEADER_LEN;

	if (cipher->counter == UINT64_MAX || len < TS2021_RECORD_OVERHEAD ||
		!chapoly_open(text, text, len - TS2021_HEADER_LEN, NULL, 0,
			bswap_64(cipher->counter), &cipher->key))
		return -EACCES;
	cipher->counter++;
	return (ssize_t)(len - TS2021_RECORD_OVERHEAD);
}

int ts2021_begin_record(struct ts2021_cipher *cipher, uint8_t header[static TS2021_HEADER_LEN],
	size_t text_len, uint8_t nonce[static 8])
{
	size_t len = text_len + TS2021_TAG_LEN;
	uint64_t counter = bswap_64(cipher->counter);

	if (cipher->counter == UINT64_MAX)
		return -EOVERFLOW;
	cipher->counter++;
	header[0] = TS2021_RECORD;
	header[1] = (uint8_t)(len >> 8);
	header[2] = (uint8_t)len;
	memcpy(nonce, &counter, sizeof(counter));
	return 0;
}

ssize_t ts2021_seal(struct ts2021_cipher *cipher, uint8_t *record, const uint8_t *text, size_t len)
{
	uint64_t counter = cipher->counter;
	uint8_t nonce[8];

	if (ts2021_begin_record(cipher, record, len, nonce) != 0)
		return -EOVERFLOW;
	chapoly_seal(
		record + TS2021_HEADER_LEN, text, len, NULL, 0, bswap_64(counter), &cipher->key);
	return (ssize_t)(len + TS2021_RECORD_OVERHEAD);
}

static const uint8_t early_magic[5] = {0xff, 0xff, 0xff, 'T', 'S'};

void ts2021_early_header(uint8_t header[static TS2021_EARLY_HEADER_LEN], uint32_t json_len)
{
	memcpy(header, early_magic, sizeof(early_magic));
	for (unsigned i = 0; i < 4; i++)
		header[5 + i] = (uint8_t)(json_len >> (24 - 8 * i));
}

ssize_t ts2021_early_len(const uint8_t header[static TS2021_EARLY_HEADER_LEN])
{
	uint32_t len = (uint32_t)header[5] << 24 | (uint32_t)header[6] << 16 |
		       (uint32_t)header[7] << 8 | header[8];

	if (memcmp(header, early_magic, sizeof(early_magic)) != 0)
		return -ENOENT;
	return len > TS2021_EARLY_MAX ? -EPROTO : (ssize_t)len;
}
