/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stddef.h>

/* Bytes that come in behind and leave in front; all memory that held some is zeroed.
 * Zero-initialize. Aborts without memory: its users bound what they put in. */
struct bytes_buffer {
	char *bytes;
	size_t from, to, size;
};

/* Room for so much more, at once. */
void bytes_buffer_reserve(struct bytes_buffer *buffer, size_t len);
void bytes_buffer_add(struct bytes_buffer *buffer, const void *bytes, size_t len);
void bytes_buffer_drop(struct bytes_buffer *buffer, size_t len);
void bytes_buffer_fini(struct bytes_buffer *buffer);

static inline size_t bytes_buffer_used(const struct bytes_buffer *buffer)
{
	return buffer->to - buffer->from;
}

/* Valid until something is added or dropped. */
static inline const char *bytes_buffer_data(const struct bytes_buffer *buffer)
{
	return buffer->bytes + buffer->from;
}
