/* SPDX-License-Identifier: BSD-3-Clause */
/* A responder and many initiators, out of the protocol library alone. */
#pragma once

#include <stdint.h>

#define EXCHANGE_PEERS 64

/* What a responder does for one initiation, in this order. */
enum step {
	STEP_CHECK_MAC1,
	STEP_OPEN,    /* e, es, s */
	STEP_ACCEPT,  /* ss, {t} */
	STEP_RESPOND, /* e, ee, se, psk, {} */
	STEP_ADD_MACS,
	STEP_SESSION,
	N_STEPS
};

extern const char *const step_names[N_STEPS];

void exchange_init(void);
/* One fresh initiation of each peer, newer than those before. */
void exchange_initiate(void);
/* The whole of it for one of them; any thread, one at a time for a peer. */
void exchange_respond(unsigned peer);
/* The same, with the ticks of each step. */
void exchange_respond_timed(unsigned peer, uint64_t ticks[N_STEPS]);
/* Ends the program unless the initiators accept the responses and share the responder's keys. */
void exchange_finish(void);
