/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* A row of bytes that grows at its end and is taken from its start; owns nothing while empty. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
	uint8_t *data;
	uint32_t len, at, size;
};

static inline void bytes_free(struct bytes *bytes)
{
	free(bytes->data);
	memset(bytes, 0, sizeof(*bytes));
}

/* False: no memory, or more than 1 GiB. */
static inline bool bytes_append(struct bytes *bytes, const void *from, size_t len)
{
	size_t size = bytes->size ? bytes->size : 64;
	uint8_t *data;

	if (bytes->len + len > bytes->size && bytes->at >= bytes->len / 2 && bytes->at) {
		/* one that is never empty does not grow without end */
		bytes->len -= bytes->at;
		memmove(bytes->data, bytes->data + bytes->at, bytes->len);
		bytes->at = 0;
	}
	if (len > (1u << 30) - bytes->len)
		return false;
	while (size < bytes->len + len)
		size *= 2;
	data = size == bytes->size ? bytes->data : realloc(bytes->data, size);
	if (!data)
		return false;
	memcpy(data + bytes->len, from, len);
	bytes->data = data;
	bytes->size = (uint32_t)size;
	bytes->len += (uint32_t)len;
	return true;
}
