/* SPDX-License-Identifier: BSD-3-Clause */
/* WireGuard's user-space socket protocol: any bytes, parsed twice, give the same answer. */
#include <stdlib.h>

#include "uapi_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct uapi_request first, second;
	int a = uapi_parse(&first, (const char *)data, size);
	int b = uapi_parse(&second, (const char *)data, size);

	if (a != b || first.n_peers != second.n_peers)
		abort();
	uapi_request_fini(&first);
	uapi_request_fini(&second);
	return 0;
}
