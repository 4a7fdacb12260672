/* SPDX-License-Identifier: BSD-3-Clause */
/* A buffer belongs to its user's thread. */
#include "bytes_buffer.h"

#include <stdlib.h>
#include <string.h>

#define SIZE_MIN 4096

static void grow(struct bytes_buffer *buffer, size_t len)
{
	size_t used = bytes_buffer_used(buffer), size = SIZE_MIN;
	char *bytes;

	while (size < used + len)
		size *= 2;
	bytes = malloc(size);
	if (!bytes)
		abort();
	if (used)
		memcpy(bytes, bytes_buffer_data(buffer), used);
	bytes_buffer_fini(buffer);
	*buffer = (struct bytes_buffer){bytes, 0, used, size};
}

/* A new place also where the front has left more room than is used: each byte moves twice at most.
 */
void bytes_buffer_reserve(struct bytes_buffer *buffer, size_t len)
{
	if (buffer->size - buffer->to < len)
		grow(buffer, len);
}

void bytes_buffer_add(struct bytes_buffer *buffer, const void *bytes, size_t len)
{
	if (!len)
		return;
	bytes_buffer_reserve(buffer, len);
	memcpy(buffer->bytes + buffer->to, bytes, len);
	buffer->to += len;
}

/* What was dropped is zero already. An empty one gives its memory back. */
void bytes_buffer_drop(struct bytes_buffer *buffer, size_t len)
{
	if (buffer->size)
		explicit_bzero(buffer->bytes + buffer->from, len);
	buffer->from += len;
	if (buffer->from == buffer->to)
		bytes_buffer_fini(buffer);
}

void bytes_buffer_fini(struct bytes_buffer *buffer)
{
	if (buffer->size)
		explicit_bzero(buffer->bytes + buffer->from, bytes_buffer_used(buffer));
	free(buffer->bytes);
	*buffer = (struct bytes_buffer){0};
}
