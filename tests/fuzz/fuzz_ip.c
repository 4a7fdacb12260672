/* SPDX-License-Identifier: BSD-3-Clause */
/* IP headers, extension chains and TCP options of packets that nobody has checked. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "icmp.h"
#include "ip_parse.h"
#include "mss.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
	if (!truth)
		abort();
}

static void parse(const uint8_t *data, uint32_t len)
{
	struct ip_info info;

	if (ip_parse(data, len, true, &info) != IP_SOUND)
		return;
	require(info.header_len <= info.total_len && info.total_len <= len);
	if (ip_walk(data, &info) != IP_SOUND)
		return;
	require(info.header_len <= info.total_len);
	require(!info.fragment || info.family == AF_INET ||
		info.fragment_at + 8u <= info.header_len);
}

/* What a checksum is right for stays what it is right for. */
static void clamp(const uint8_t *data, uint32_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	uint32_t odd = len >= 20 && data[0] >> 4 == 4 ? (data[0] & 15) * 4u : 0;

	memcpy(copy, data, len);
	if (mss_clamp_bytes(copy, len, 1280)) {
		uint16_t before = ip_sum_fold(ip_sum(data + odd, len - odd, 0));
		uint16_t after = ip_sum_fold(ip_sum(copy + odd, len - odd, 0));

		require(before % 0xffff == after % 0xffff);
		require(!mss_clamp_bytes(copy, len, 1280));
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 4096)
		return 0;
	parse(data, (uint32_t)size);
	icmp_error_allowed(data, (uint32_t)size);
	clamp(data, (uint32_t)size);
	return 0;
}
