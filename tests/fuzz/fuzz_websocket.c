/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames of a WebSocket in pieces: cutting must not change what they carry. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/websocket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is carried, in place; negative when it ends. */
static ssize_t read_all(uint8_t *bytes, size_t size, size_t step, struct websocket *ws)
{
	size_t at = 0, out = 0;

	while (at < size) {
		size_t part = size - at < step ? size - at : step;
		ssize_t n = websocket_read(ws, bytes + at, part);

		if (n < 0)
			return n;
		assert((size_t)n <= part && ws->pong_len <= WEBSOCKET_PONG_MAX);
		memmove(bytes + out, bytes + at, (size_t)n);
		out += (size_t)n;
		at += part;
	}
	return (ssize_t)out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct websocket one = {0}, other = {0};
	uint8_t *whole, *cut;
	ssize_t a, b;

	if (!size)
		return 0;
	whole = malloc(size);
	cut = malloc(size);
	if (whole && cut) {
		memcpy(whole, data + 1, size - 1);
		memcpy(cut, data + 1, size - 1);
		a = read_all(whole, size - 1, SIZE_MAX, &one);
		b = read_all(cut, size - 1, 1 + data[0] % 16, &other);
		assert(a == b);
		assert(a <= 0 || memcmp(whole, cut, (size_t)a) == 0);
		assert(a < 0 || (one.pong_len == other.pong_len &&
					memcmp(one.pong, other.pong, one.pong_len) == 0));
	}
	free(whole);
	free(cut);
	return 0;
}
