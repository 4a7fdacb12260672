/* SPDX-License-Identifier: BSD-3-Clause */
/* ARP and neighbour discovery: what is understood can be said again. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "neigh_packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void say_again(const struct neigh_packet *in)
{
	struct neigh_frame f = {.op = in->op, .family = in->family};
	uint8_t out[NEIGH_FRAME_MAX];
	struct neigh_packet again;
	size_t len;

	memcpy(f.our_mac, in->mac, 6);
	memcpy(f.our_addr, in->sender, 16);
	memcpy(f.target, in->target, 16);
	len = neigh_frame_build(&f, out);
	if (len > NEIGH_FRAME_MAX)
		abort();
	if (!(in->family == AF_INET ? arp_parse : nd_parse)(out + 14, (uint32_t)(len - 14), &again))
		return; /* an announcement of what may not be announced */
	if (again.op != in->op || memcmp(again.mac, in->mac, 6) != 0 ||
		memcmp(again.sender, in->sender, 16) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct neigh_packet in;

	if (size > 4096)
		return 0;
	if (arp_parse(data, (uint32_t)size, &in))
		say_again(&in);
	if (nd_parse(data, (uint32_t)size, &in) && in.has_mac)
		say_again(&in);
	return 0;
}
