/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop, but for lookup_run. */
#include "lookup.h"

#include <netdb.h>
#include <stddef.h>

static struct derp_lookup *lookup_of(struct job *job)
{
	return (struct derp_lookup *)((char *)job - offsetof(struct derp_lookup, job));
}

static void lookup_run(struct job *job)
{
	struct derp_lookup *lookup = lookup_of(job);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG},
			*list = NULL;
	int error = getaddrinfo(lookup->host, NULL, &hints, &list);
	struct net_endpoint endpoint;

	for (struct addrinfo *at = error ? NULL : list; at; at = at->ai_next) {
		if (net_endpoint_from_sockaddr(&endpoint, at->ai_addr) == 0)
			derp_target_address(&lookup->target, &endpoint.addr);
	}
	if (!error)
		freeaddrinfo(list);
	lookup->problem = error                        ? gai_strerror(error)
			  : lookup->target.n_addresses ? NULL
						       : "the name has no address";
}

static void lookup_done(struct job *job)
{
	struct derp_lookup *lookup = lookup_of(job);

	lookup->done(lookup);
}

void derp_lookup_start(struct derp_lookup *lookup)
{
	lookup->job =
		(struct job){.run = lookup_run, .done = lookup_done, .name = "name of a relay"};
	job_submit(&lookup->job);
}
