/* SPDX-License-Identifier: BSD-3-Clause */
/* Any text as a file of node keys: what is read is sorted, and no more than fits into it. Any bytes
 * as what the process before knew of keys. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "grace.h"
#include "verify_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = {0};
	size_t n;
	struct public_key *keys = verify_keys_parse((const char *)data, size, &n, &err);

	static struct grace *grace;

	if (!grace)
		grace = grace_new();
	grace_unpack(grace, data, size, UINT64_MAX / 2);
	if (!keys)
		return 0;
	if (n * 72 > size)
		abort();
	for (size_t i = 1; i < n; i++)
		if (memcmp(&keys[i - 1], &keys[i], sizeof(*keys)) > 0)
			abort();
	free(keys);
	return 0;
}
