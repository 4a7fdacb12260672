/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "stun_ports.h"

#include <stdlib.h>
#include <string.h>

#include <tailplane/log.h>
#include <tailplane/snapshot.h>

static struct stun_counts counts;

void stun_ports_publish(const struct net_endpoint *listen, unsigned n, bool speak)
{
	struct stun_ports *next = NULL;

	if (n) {
		next = malloc(sizeof(*next) + n * sizeof(*listen));
		if (next) {
			*next = (struct stun_ports){.counts = &counts, .speak = speak, .n = n};
			memcpy(next->listen, listen, n * sizeof(*listen));
		} else {
			/* the kernel's sockets know better than what was said before */
			log_warnx("out of memory: STUN is left to the kernel on Ethernet ports");
		}
	}
	snapshot_publish(snapshot_slot(STUN_PORTS_SLOT), next, free);
}

const struct stun_counts *stun_ports_counts(void)
{
	return &counts;
}
