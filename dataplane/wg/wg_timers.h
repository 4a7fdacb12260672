/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The timers of one WireGuard peer (paper, section 6) as a pure state machine: time and facts in,
 * actions and the next deadline out. Protocol library; the caller (control loop) serializes calls
 * for one peer.
 *
 * Workers only publish facts, four relaxed time stamps per peer. Each fact's own deadline lies
 * KEEPALIVE_TIMEOUT or more after it, so running a peer at the deadline last answered, and else at
 * any period below that timeout (or when a worker says that its peer became active), is never late.
 *
 * Times are monotonic ns, never 0: a 0 means "never" or "none".
 */
#include <stdbool.h>
#include <stdint.h>

#include "messages.h"

#define WG_TIMERS_NEVER UINT64_MAX

/* What the data path did. Keep-alives and handshake messages are authentic, but not data. */
struct wg_timers_facts {
	uint64_t data_sent_since; /* first data sent since anything authentic came in; 0: none */
	uint64_t data_received_since; /* first data received since anything authentic went out; 0:
					 none */
	uint64_t last_sent, last_received; /* anything authentic */
};

/* Zero it to initialize. */
struct wg_timers {
	uint64_t persistent_keepalive; /* interval; 0: off */
	uint64_t persistent_base; /* the last one asked for; 0 with interval set: send one now */
	uint64_t keepalive_sent;  /* the last passive one asked for */
	uint64_t last_handshake;  /* last initiation or response of ours */
	uint64_t wanted;          /* a handshake is asked for and waits for its spacing */
	uint64_t attempts_since;  /* a handshake of ours is under way since; 0: none */
	uint64_t retransmit_at;   /* while under way */
	uint64_t silence_since;   /* data_sent_since that silence_at was made for */
	uint64_t silence_at; /* new handshake for want of an answer; 0: done for this silence */
	uint64_t silence_handled;
	uint64_t zero_at; /* 0: no keys to zero */
};

struct wg_timers_actions {
	bool send_initiation; /* make and send one; it counts as sent at `now` */
	bool send_keepalive;  /* an empty packet, sent as any other: without a key it wants a
				 handshake */
	bool zero_keys;       /* forget all sessions and the handshake */
	bool give_up;         /* nobody answers: drop staged packets, forget the handshake */
};

/*
 * Runs what is due at `now` and answers the next deadline, WG_TIMERS_NEVER for none. `jitter` is
 * random in 0..REKEY_TIMEOUT_JITTER_MAX, drawn anew for each call.
 */
uint64_t wg_timers_run(struct wg_timers *timers, const struct wg_timers_facts *facts, uint64_t now,
	uint32_t jitter, struct wg_timers_actions *actions);

/* After each of these, run. */

/* The data path has a packet and no key, or a key due for renewal. Starts the count of attempts
 * over; the initiation comes from wg_timers_run, at once or after the spacing. */
void wg_timers_want_handshake(struct wg_timers *timers, uint64_t now);
/* We answered an initiation of theirs: has the spacing of an initiation, and makes keys. */
void wg_timers_response_sent(struct wg_timers *timers, uint64_t now);
/* Initiator: a response was consumed. Also: session derived. */
void wg_timers_response_received(struct wg_timers *timers, uint64_t now);
/* Responder: first authentic data under the new key. */
void wg_timers_confirmed(struct wg_timers *timers);
/* 0 turns it off; turning it on sends one at once. */
void wg_timers_set_persistent_keepalive(struct wg_timers *timers, uint64_t interval);
/* Keys and handshake are gone (zeroed, tunnel down): as new, but for interval and spacing. */
void wg_timers_stop(struct wg_timers *timers);
