/* SPDX-License-Identifier: BSD-3-Clause */
/* Any text as an address, prefix, endpoint, number with a unit or key; what is read prints back to
 * it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/net.h>
#include <tailplane/settings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
	if (!ok)
		abort();
}

static void addresses(const char *text)
{
	struct net_addr addr, addr2;
	struct net_prefix prefix, prefix2;
	struct net_endpoint ep, ep2;
	char buf[NET_ENDPOINT_STRLEN], host[16];
	uint16_t port;

	if (!net_addr_parse(&addr, text))
		require(!net_addr_parse(&addr2, net_addr_format(&addr, buf)) &&
			net_addr_equal(&addr, &addr2));
	if (!net_prefix_parse(&prefix, text))
		require(!net_prefix_parse(&prefix2, net_prefix_format(&prefix, buf)) &&
			net_addr_equal(&prefix.addr, &prefix2.addr) && prefix.len == prefix2.len &&
			net_prefix_contains(&prefix, &prefix.addr));
	if (!net_endpoint_parse(&ep, text))
		require(!net_endpoint_parse(&ep2, net_endpoint_format(&ep, buf)) &&
			net_endpoint_equal(&ep, &ep2));
	net_hostport_split(text, host, sizeof(host), &port);
}

static void units(const char *text)
{
	static int (*const parse[])(uint64_t *, const char *, struct err *) = {
		setting_parse_duration, setting_parse_size, setting_parse_rate};
	static const char *(*const format[])(uint64_t, char[static 32]) = {
		setting_format_duration, setting_format_size, setting_format_rate};
	struct err err = {0};
	uint64_t value, again;
	char buf[32];

	for (int i = 0; i < 3; i++) {
		if (!parse[i](&value, text, &err))
			require(!parse[i](&again, format[i](value, buf), NULL) && again == value);
	}
}

static void keys(const char *text)
{
	uint8_t key[32];
	char buf[45];

	if (!setting_parse_key(key, text, NULL))
		require(!strcmp(setting_format_key(key, buf), text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	require(text);
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	addresses(text);
	units(text);
	keys(text);
	free(text);
	return 0;
}
