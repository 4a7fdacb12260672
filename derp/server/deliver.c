/* SPDX-License-Identifier: BSD-3-Clause */
/* From a run of frames for one key to whoever gets them. Runs on: an I/O loop. */
#include <string.h>

#include "relay.h"

/* A client that asks for paths to a machine that is not here shall not wait for an answer. */
static void say_not_here(struct conn *to, const uint8_t *frames, uint32_t len, const uint8_t *key)
{
	uint8_t frame[DERP_HEADER_LEN + DERP_PEER_GONE_LEN];

	for (uint32_t at = 0; at < len; at += frame_len(frames + at)) {
		const uint8_t *packet = frames + at + DERP_HEADER_LEN + DERP_KEY_LEN;

		if (!derp_is_disco(packet, frame_len(frames + at) - DERP_HEADER_LEN - DERP_KEY_LEN))
			continue;
		if (!limit_not_here(to))
			return;
		output_control(
			to, frame, (uint32_t)derp_peer_gone_put(frame, key, DERP_GONE_NOT_HERE));
		COUNT(to->loop, peer_gone_not_here_frames, 1);
	}
}

/* `on_way`: its route says that it is here, and it no longer is. */
static void to_nobody(struct derp_loop *loop, const struct run *run, bool on_way)
{
	enum derp_drop why = on_way           ? DERP_DROP_GONE_DISCONNECTED
			     : run->forwarded ? DERP_DROP_UNKNOWN_DEST_ON_FWD
					      : DERP_DROP_UNKNOWN_DEST;

	drop_frames(loop, run->bytes, run->len, why);
	if (run->from && !on_way)
		say_not_here(run->from, run->bytes, run->len, run->destination);
}

/* RecvPacket has the source alone; the other node needs both keys. */
static void to_link(struct conn *link, const struct run *run)
{
	for (uint32_t at = 0; at < run->len; at += frame_len(run->bytes + at)) {
		const uint8_t *frame = run->bytes + at;
		uint32_t len = frame_len(frame);
		uint8_t *forward = arena_take(link->loop, len + DERP_KEY_LEN), *to = forward;

		derp_header_put(to, DERP_FORWARD_PACKET, len - DERP_HEADER_LEN + DERP_KEY_LEN);
		to += DERP_HEADER_LEN;
		memcpy(to, frame + DERP_HEADER_LEN, DERP_KEY_LEN);
		memcpy(to + DERP_KEY_LEN, run->destination, DERP_KEY_LEN);
		memcpy(to + 2 * DERP_KEY_LEN, frame + DERP_HEADER_LEN + DERP_KEY_LEN,
			len - DERP_HEADER_LEN - DERP_KEY_LEN);
		output_piece(link, forward, len + DERP_KEY_LEN, 1);
	}
	COUNT(link->loop, packets_forwarded_out, run->frames);
}

void deliver_run(struct derp_loop *loop, const struct run *run)
{
	struct peer *peer = peer_find(loop, run->destination);
	enum route_kind kind = peer ? peer->route.kind : ROUTE_NONE;

	if (kind == ROUTE_LINK && run->forwarded)
		kind = ROUTE_NONE; /* one hop, never two */
	if (is_kin(kind) && run->from && run->from == peer->via)
		kind = ROUTE_NONE; /* nor back to where it came from: they agree in a moment */
	if (kind == ROUTE_NONE && peer && peer->away) {
		away_hold(loop, peer, run);
	} else if (kind == ROUTE_NONE) {
		to_nobody(loop, run, run->crossed);
	} else if (peer->route.loop != loop->index && !run->crossed) {
		cross_run(loop, peer->route.loop, run);
	} else if (!peer->via) {
		to_nobody(loop, run, true);
	} else if (kind != ROUTE_CLIENT) {
		to_link(peer->via, run);
	} else {
		if (run->source && peer->via->last_source != run->source)
			sighting_note(loop, run->source, peer->via);
		output_piece(peer->via, run->bytes, run->len, run->frames);
	}
}
