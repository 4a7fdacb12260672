/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The timers of one WireGuard peer (paper, section 6) as a pure state machine: time and facts in,
 * actions and the next deadline out. Protocol library; the caller (control loop) serializes calls
 * for one peer.
 *
 * Workers only publish facts, four relaxed time stamps per peer. Run a peer at the deadline last
 * answered, and when a `since` becomes set while neither was at the last run. While one is set, the
 * deadlines are so close together that what is set meanwhile needs no word.
 *
 * Times are monotonic ns, never 0: a 0 means "never" or "none".
 */
#include <stdbool.h>
#include <stdint.h>

#include "messages.h"

#define WG_TIMERS_NEVER UINT64_MAX

/*
 * What the data path did. Keep-alives and handshake messages are authentic, but not data: what
 * control sends and receives counts too, and clears the `since` of the other direction. It must, or
 * a silence that a handshake ended would go on.
 */
struct wg_timers_facts {
	uint64_t data_sent_since; /* first data sent since anything authentic came in; 0: none */
	uint64_t data_received_since; /* first data received since anything authentic went out; 0:
					 none */
	uint64_t last_sent, last_received; /* anything authentic */
};

/* Zero it to initialize; then its fields are wg_timers.c's alone. */
struct wg_timers {
	uint64_t persistent_keepalive; /* interval; 0: off */
	uint64_t persistent_base;      /* the last one asked for; 0: send one now */
	uint64_t keepalive_for;        /* data_received_since that a keep-alive was asked for */
	uint64_t last_handshake;       /* our last initiation or response */
	bool wanted;                   /* an initiation is due and waits for its spacing */
	uint64_t attempts_since;       /* the handshake wanted or under way is since then */
	uint64_t retransmit_at;        /* a handshake of ours is under way; 0: none */
	uint64_t silence_since;        /* data_sent_since that silence_at was made for */
	uint64_t silence_at;           /* new handshake for want of an answer; 0: handled */
	uint64_t silence_handled;      /* when */
	uint64_t zero_at;              /* 0: no keys to zero */
};

/* To be carried out in this order. */
struct wg_timers_actions {
	bool zero_keys;       /* forget all sessions and the handshake */
	bool give_up;         /* nobody answers: drop staged packets, forget the handshake */
	bool send_initiation; /* make and send one; it counts as sent now */
	bool send_keepalive;  /* an empty packet, sent as any other: without a key it wants one */
};

/*
 * Runs what is due at `now`, says what is to be done, and answers the next deadline
 * (WG_TIMERS_NEVER: none). `jitter` is random in 0..REKEY_TIMEOUT_JITTER_MAX, drawn anew for each
 * call.
 */
uint64_t wg_timers_run(struct wg_timers *timers, const struct wg_timers_facts *facts, uint64_t now,
	uint32_t jitter, struct wg_timers_actions *actions);

/* What happened on control. Deadlines change, so run after each. */

/* The data path has a packet and no key, or a key due for renewal; or an administrator asks. Starts
 * the count of attempts over; the initiation comes from wg_timers_run, at once or after the spacing
 * of REKEY_TIMEOUT from our last handshake message. */
void wg_timers_want_handshake(struct wg_timers *timers, uint64_t now);
/* Responder: keys are derived, our response is on its way. Spaced as an initiation is. */
void wg_timers_response_sent(struct wg_timers *timers, uint64_t now);
/* Initiator: a response was consumed, keys are derived; ends the handshake under way. */
void wg_timers_response_received(struct wg_timers *timers, uint64_t now);
/* Responder: first authentic data under the new key; ends the handshake under way. */
void wg_timers_confirmed(struct wg_timers *timers);
/* 0 turns it off; another interval than before sends one at once. */
void wg_timers_set_persistent_keepalive(struct wg_timers *timers, uint64_t interval);
/* The tunnel goes down, or its key changed: as new, but for the interval and the spacing. */
void wg_timers_stop(struct wg_timers *timers);
