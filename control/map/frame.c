/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "frame.h"

#include <stdlib.h>
#include <string.h>

#include <zstd.h>

static ZSTD_CCtx *context;
static char *scratch;
static size_t scratch_size;

static bool room(size_t len)
{
	size_t bound = ZSTD_compressBound(len);
	char *more;

	if (!context)
		context = ZSTD_createCCtx();
	if (!context)
		return false;
	if (bound <= scratch_size)
		return true;
	more = realloc(scratch, bound);
	if (!more)
		return false;
	scratch = more;
	scratch_size = bound;
	return true;
}

struct blob *frame_make(const char *text, size_t len)
{
	struct blob *blob;
	size_t n;

	if (!room(len))
		return NULL;
	n = ZSTD_compressCCtx(context, scratch, scratch_size, text, len, 1);
	if (ZSTD_isError(n))
		return NULL;
	blob = blob_new(n);
	if (blob)
		memcpy(blob->data, scratch, n);
	return blob;
}

void frames_fini(void)
{
	ZSTD_freeCCtx(context);
	free(scratch);
	context = NULL;
	scratch = NULL;
	scratch_size = 0;
}
