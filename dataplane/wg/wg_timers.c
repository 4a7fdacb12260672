/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Protocol library: the control loop. Four timers that know nothing of each other but that silence
 * asks for a handshake, and that a handshake under way has its own clock.
 */
#include "wg_timers.h"

#define NEW_HANDSHAKE_TIME (KEEPALIVE_TIMEOUT + REKEY_TIMEOUT)
#define ZERO_KEYS_TIME (3 * REJECT_AFTER_TIME)

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* ---- handshake: attempts, their spacing, and the end of them ----------------------------------
 */

void wg_timers_want_handshake(struct wg_timers *t, uint64_t now)
{
	t->attempts_since = now;
	if (!t->retransmit_at)
		t->wanted = true;
}

static void handshake_end(struct wg_timers *t)
{
	t->retransmit_at = 0;
	t->wanted = false;
}

static void give_up(struct wg_timers *t, uint64_t now)
{
	handshake_end(t);
	/* silence starts to count again with the next packet sent */
	t->silence_at = 0;
	t->silence_handled = now;
	if (!t->zero_at)
		t->zero_at = now + ZERO_KEYS_TIME;
}

static uint64_t run_handshake(
	struct wg_timers *t, uint64_t now, uint32_t jitter, struct wg_timers_actions *actions)
{
	uint64_t spaced = t->last_handshake ? t->last_handshake + REKEY_TIMEOUT : 0;

	if (t->retransmit_at && now >= t->retransmit_at) {
		if (now >= t->attempts_since + REKEY_ATTEMPT_TIME) {
			give_up(t, now);
			actions->give_up = true;
		} else {
			t->wanted = true;
		}
	}
	if (!t->wanted)
		return t->retransmit_at ? t->retransmit_at : WG_TIMERS_NEVER;
	if (now < spaced)
		return spaced;
	actions->send_initiation = true;
	t->wanted = false;
	t->last_handshake = now;
	t->retransmit_at = now + REKEY_TIMEOUT + jitter;
	return t->retransmit_at;
}

void wg_timers_response_sent(struct wg_timers *t, uint64_t now)
{
	t->last_handshake = now;
	t->zero_at = now + ZERO_KEYS_TIME;
}

void wg_timers_response_received(struct wg_timers *t, uint64_t now)
{
	t->zero_at = now + ZERO_KEYS_TIME;
	handshake_end(t);
}

void wg_timers_confirmed(struct wg_timers *t)
{
	handshake_end(t);
}

/* ---- silence: data went out and nothing came back ---------------------------------------------
 */

static uint64_t run_silence(
	struct wg_timers *t, const struct wg_timers_facts *facts, uint64_t now, uint32_t jitter)
{
	if (!facts->data_sent_since)
		return WG_TIMERS_NEVER;
	if (facts->data_sent_since != t->silence_since) {
		t->silence_since = facts->data_sent_since;
		t->silence_at = facts->data_sent_since + NEW_HANDSHAKE_TIME + jitter;
	}
	if (t->retransmit_at || t->wanted)
		return WG_TIMERS_NEVER;
	/* that silence led to a handshake already: once more only for what was sent after it */
	if (!t->silence_at && facts->last_sent > t->silence_handled)
		t->silence_at = facts->last_sent + NEW_HANDSHAKE_TIME + jitter;
	if (!t->silence_at)
		return WG_TIMERS_NEVER;
	if (now < t->silence_at)
		return t->silence_at;
	t->silence_at = 0;
	t->silence_handled = now;
	wg_timers_want_handshake(t, now);
	return WG_TIMERS_NEVER;
}

/* ---- keep-alives ------------------------------------------------------------------------------
 */

/* Data came in and nothing went out: the other end is about to take that for silence. Asked for
 * once: should it be lost, the other end makes a new handshake. */
static uint64_t run_keepalive(struct wg_timers *t, const struct wg_timers_facts *facts,
	uint64_t now, struct wg_timers_actions *actions)
{
	uint64_t due = facts->data_received_since + KEEPALIVE_TIMEOUT;

	if (!facts->data_received_since || facts->data_received_since == t->keepalive_for)
		return WG_TIMERS_NEVER;
	if (now < due)
		return due;
	t->keepalive_for = facts->data_received_since;
	actions->send_keepalive = true;
	return WG_TIMERS_NEVER;
}

static uint64_t run_persistent(struct wg_timers *t, const struct wg_timers_facts *facts,
	uint64_t now, struct wg_timers_actions *actions)
{
	uint64_t traffic = max64(facts->last_sent, facts->last_received);
	uint64_t due;

	if (!t->persistent_keepalive)
		return WG_TIMERS_NEVER;
	due = max64(t->persistent_base, traffic) + t->persistent_keepalive;
	if (t->persistent_base && now < due)
		return due;
	t->persistent_base = now;
	actions->send_keepalive = true;
	return now + t->persistent_keepalive;
}

void wg_timers_set_persistent_keepalive(struct wg_timers *t, uint64_t interval)
{
	if (interval != t->persistent_keepalive)
		t->persistent_base = 0;
	t->persistent_keepalive = interval;
}

/* ---- all together -----------------------------------------------------------------------------
 */

static uint64_t run_zero(struct wg_timers *t, uint64_t now, struct wg_timers_actions *actions)
{
	if (!t->zero_at)
		return WG_TIMERS_NEVER;
	if (now < t->zero_at)
		return t->zero_at;
	t->zero_at = 0;
	actions->zero_keys = true;
	return WG_TIMERS_NEVER;
}

uint64_t wg_timers_run(struct wg_timers *t, const struct wg_timers_facts *facts, uint64_t now,
	uint32_t jitter, struct wg_timers_actions *actions)
{
	uint64_t next;

	*actions = (struct wg_timers_actions){0};
	next = run_zero(t, now, actions);
	next = min64(next, run_silence(t, facts, now, jitter)); /* may want a handshake */
	next = min64(next, run_handshake(t, now, jitter, actions));
	next = min64(next, run_keepalive(t, facts, now, actions));
	next = min64(next, run_persistent(t, facts, now, actions));
	if (actions->give_up) /* the zeroing that this started */
		next = min64(next, t->zero_at);
	/* another fact may come unannounced, with a deadline before that of the one seen */
	if (facts->data_sent_since || facts->data_received_since)
		next = min64(next, now + KEEPALIVE_TIMEOUT);
	return next;
}

void wg_timers_stop(struct wg_timers *t)
{
	*t = (struct wg_timers){
		.persistent_keepalive = t->persistent_keepalive,
		.last_handshake = t->last_handshake,
	};
}
