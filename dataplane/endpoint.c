/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names of endpoints. A literal is taken at once; a name is looked up in a job (the resolver
 * blocks) at start and whenever a handshake got no answer: the name may lead elsewhere by then.
 * Control loop, but for lookup_run.
 */
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"

struct lookup_job {
	struct job job;
	struct peer *peer;
	char host[256];
	uint16_t port;
	int error; /* of getaddrinfo */
	struct net_endpoint found;
};

static void lookup_run(struct job *job)
{
	struct lookup_job *j = (struct lookup_job *)job;
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_ADDRCONFIG},
			*list = NULL;

	j->error = getaddrinfo(j->host, NULL, &hints, &list);
	if (j->error)
		return;
	if (net_endpoint_from_sockaddr(&j->found, list->ai_addr))
		j->error = EAI_NONAME;
	j->found.port = j->port;
	freeaddrinfo(list);
}

static void lookup_done(struct job *job)
{
	struct lookup_job *j = (struct lookup_job *)job;
	struct peer *p = j->peer;
	bool first = !p->endpoint.addr.family;
	char text[NET_ENDPOINT_STRLEN];

	p->looking_up = false;
	if (p->dead) {
		/* nobody wants to know */
	} else if (j->error) {
		log_warnx("tunnel %s: endpoint %s of peer %s: %s; it is looked up again with the "
			  "next handshake",
			p->tunnel->name, p->spec.endpoint, p->spec.name, gai_strerror(j->error));
	} else if (first || !net_endpoint_equal(&j->found, &p->endpoint)) {
		log_info("tunnel %s: peer %s is at %s", p->tunnel->name, p->spec.name,
			net_endpoint_format(&j->found, text));
		peer_path_publish(p, &j->found, NULL);
		if (first)
			peer_run_timers(p);
	}
	peer_put(p);
	free(j);
}

void endpoint_lookup(struct peer *p)
{
	struct net_endpoint literal;
	struct lookup_job *j;

	if (!*p->spec.endpoint || p->looking_up || !net_endpoint_parse(&literal, p->spec.endpoint))
		return;
	j = calloc(1, sizeof(*j));
	if (!j)
		return;
	if (net_hostport_split(p->spec.endpoint, j->host, sizeof(j->host), &j->port)) {
		free(j);
		return;
	}
	j->job.run = lookup_run;
	j->job.done = lookup_done;
	j->job.name = "endpoint look-up";
	j->peer = peer_get(p);
	p->looking_up = true;
	job_submit(&j->job);
}

void endpoint_apply(struct peer *p)
{
	struct net_endpoint literal;

	if (!net_endpoint_parse(&literal, p->spec.endpoint))
		peer_path_publish(p, &literal, NULL);
	else
		endpoint_lookup(p);
}
