/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "control.h"

enum outcome {
	OUTCOME_REFUSED, /* counted at `counter` */
	OUTCOME_COOKIE_SENT,
	OUTCOME_COOKIE_TAKEN,
	OUTCOME_SESSION, /* and a response to send when we are the responder */
};

struct receive_job {
	struct job job;
	struct tunnel *tunnel;
	struct peer *peer; /* counted, once found */
	struct packet_path path;
	struct net_endpoint source;
	uint64_t now;
	bool loaded;
	enum outcome outcome;
	uint64_t *counter; /* of the refusal, in tunnel->counters */
	struct noise_keys keys;
	size_t len, reply_len;
	union {
		uint8_t bytes[sizeof(struct message_initiation)];
		struct message_initiation initiation;
		struct message_response response;
		struct message_cookie_reply cookie;
	} message, reply;
};

/* Job; the locks are those of handshake.c. */
void handshake_receive_run(struct job *job);
