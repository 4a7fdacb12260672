/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What an examination found, and what it means: from facts to lines for people, without looking at
 * anything itself. Protocol library.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tailplane/net.h>

#define DOCTOR_ADDRS 8
#define DOCTOR_OWN_ADDRS 64

/* A look at an address over HTTP. */
enum doctor_answer {
	ANSWER_LATE,     /* none yet */
	ANSWER_NONE,     /* nothing of HTTP came back: `why` */
	ANSWER_STRANGER, /* somebody answers who is not this server */
	ANSWER_OURS,
};

struct doctor_look {
	enum doctor_answer answer;
	long status;
	char why[160];
	struct net_addr at; /* that the connection went to; family 0: it did not come so far */
};

struct doctor_facts {
	const char *server_url, *host;
	bool https;
	uint16_t port;
	struct { /* the front door's own listener; port 0: none */
		uint16_t port;
		bool tls;
	} listener;
	int64_t now; /* Unix s */
	bool clock_disciplined;
	bool clock_compared;
	int64_t clock_ahead; /* s, of what others' clocks say */
	const char *store_problem;

	bool literal;             /* the host is an address */
	const char *name_problem; /* why it does not resolve; NULL: it does */
	struct net_addr addrs[DOCTOR_ADDRS];
	size_t n_addrs;
	struct net_addr own[DOCTOR_OWN_ADDRS]; /* of this machine's interfaces */
	size_t n_own;
	struct net_addr public_addr; /* as relays see this network; family 0: unknown */
	size_t stun_asked;

	struct doctor_look self;          /* server_url, as clients speak to it */
	bool distrusted;                  /* its certificate is what is wrong */
	bool request_is_secure;           /* as the front door saw the request that came to us */
	struct doctor_look plain;         /* port 80 of the host */
	int64_t certificate_ends;         /* Unix s; 0: unknown */
	const char *certificates_problem; /* why files that changed are not served; NULL: none */

	unsigned clients_asked;
	struct net_addr client; /* one that reached server_url, best from outside; family 0: none */

	size_t regions, relays_asked, relays_answered;
	const char *relays_problem;
	struct { /* of the relay in this process, if it is in the map; 0: none */
		uint16_t tcp, stun;
	} relay;
};

enum finding_state { FINDING_OK, FINDING_WARNING, FINDING_FAILED };

struct finding {
	const char *check;
	enum finding_state state;
	char found[320], advice[320];
};

#define FINDINGS_MAX 9
size_t doctor_judge(const struct doctor_facts *facts, struct finding findings[FINDINGS_MAX]);
/* Not reachable from other networks: private, shared by a provider's NAT, link-local, loopback. */
bool address_is_private(const struct net_addr *addr);
