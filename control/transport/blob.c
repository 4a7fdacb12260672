/* SPDX-License-Identifier: BSD-3-Clause */
/* Counted bytes. Runs on: any thread. */
#include <stdlib.h>

#include "rpc.h"

struct blob *blob_new(size_t len)
{
	struct blob *blob = len <= UINT32_MAX ? malloc(sizeof(*blob) + len) : NULL;

	if (!blob)
		return NULL;
	blob->refs = 1;
	blob->len = (uint32_t)len;
	return blob;
}

struct blob *blob_get(struct blob *blob)
{
	atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);
	return blob;
}

void blob_put(struct blob *blob)
{
	/* acq_rel: whoever frees has seen the others' last use */
	if (blob && atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel) == 1)
		free(blob);
}
