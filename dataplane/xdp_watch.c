/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Linux (6.18, between veth interfaces) stops serving an AF_XDP socket for good now and then. From
 * outside it looks like this: sound descriptors are counted as invalid; or frames find no room
 * while nothing is received, since a ring that was filled again is never looked at; or nothing can
 * be sent any more, since what was sent is never given back. Control loop.
 */
#include "xdp_watch.h"

#include <linux/if_xdp.h>
#include <stddef.h>
#include <sys/socket.h>

static const char *fault_of(const struct xdp_facts *was, const struct xdp_facts *is)
{
	if (is->invalid != was->invalid)
		return "the kernel calls its AF_XDP descriptors invalid";
	if (is->no_room != was->no_room && is->rx == was->rx)
		return "the kernel fills its AF_XDP receive ring no more";
	if (is->tx_dropped != was->tx_dropped && is->tx == was->tx)
		return "the kernel sends from its AF_XDP transmit ring no more";
	return NULL;
}

const char *xdp_watch_judge(struct xdp_watch *w, unsigned i, const struct xdp_facts *facts)
{
	struct xdp_facts was = w->last[i];
	const char *fault = fault_of(&was, facts);

	w->last[i] = *facts;
	if (fault)
		return ++w->stuck[i] < XDP_WATCH_LOOKS ? NULL : fault;
	if (facts->rx != was.rx || facts->tx != was.tx)
		w->stuck[i] = 0;
	return NULL;
}

bool xdp_facts_read(int fd, struct xdp_facts *facts)
{
	struct xdp_statistics s = {0};
	socklen_t len = sizeof(s);

	if (fd < 0 || getsockopt(fd, SOL_XDP, XDP_STATISTICS, &s, &len) < 0)
		return false;
	facts->invalid = s.rx_invalid_descs + s.tx_invalid_descs;
	facts->no_room = s.rx_ring_full + s.rx_fill_ring_empty_descs;
	return true;
}
