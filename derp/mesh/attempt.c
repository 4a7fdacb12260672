/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the other node says of its clients is a set here, never a count: it tells each connection of
 * a key, and the end of the last one alone. The attempt's I/O loop.
 */
#include "attempt.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "info.h"
#include "tls.h"

#define SILENCE_S 120. /* two keep-alives */
#define GREET_TIMEOUT_NS 10000000000ull
#define KEYS_MAX (1u << 20)

#define OF(message, field) \
	((struct mesh_attempt *)((char *)(message)-offsetof(struct mesh_attempt, field)))

static struct ev_loop *ev_of(const struct mesh_attempt *attempt)
{
	return io_loop_ev(attempt->loop);
}

/* ---- the set ---- */

static uint64_t hash_of(const struct mesh_attempt *attempt, const uint8_t key[32])
{
	uint8_t out[crypto_shorthash_BYTES];
	uint64_t hash;

	crypto_shorthash(out, key, 32, attempt->seed);
	memcpy(&hash, out, sizeof(hash));
	return hash;
}

static bool same_key(const void *item, const void *key)
{
	return memcmp(item, key, sizeof(struct public_key)) == 0;
}

static void count(struct mesh_attempt *attempt)
{
	atomic_store_explicit(&attempt->clients, (uint32_t)attempt->keys.n, memory_order_relaxed);
}

static void key_add(struct mesh_attempt *attempt, const uint8_t bytes[32])
{
	uint64_t hash = hash_of(attempt, bytes);
	struct public_key *key;

	/* our own connection is among those that are there; that is no client */
	if (memcmp(attempt->own, bytes, 32) == 0 || attempt->keys.n >= KEYS_MAX ||
		table_find(&attempt->keys, hash, same_key, bytes))
		return;
	key = malloc(sizeof(*key));
	if (!key)
		return;
	memcpy(key->bytes, bytes, 32);
	if (table_add(&attempt->keys, hash, key) != 0) {
		free(key);
		return;
	}
	derp_forwarder_add(attempt->link, key);
	count(attempt);
}

static void key_remove(struct mesh_attempt *attempt, const uint8_t bytes[32])
{
	uint64_t hash = hash_of(attempt, bytes);
	struct public_key *key = table_find(&attempt->keys, hash, same_key, bytes);

	if (!key)
		return;
	table_remove(&attempt->keys, hash, key);
	derp_forwarder_remove(attempt->link, key);
	free(key);
	count(attempt);
}

/* The directory has dropped them with the link. */
static void keys_free(struct mesh_attempt *attempt)
{
	for (size_t i = 0; i < attempt->keys.size; i++)
		free(attempt->keys.slots[i].item);
	table_fini(&attempt->keys);
	count(attempt);
}

/* ---- ends ---- */

static void on_end_message(struct io_message *message)
{
	struct mesh_attempt *attempt = OF(message, end_message);

	attempt->ended(attempt);
}

/* Whatever is still open goes. */
static void close_all(struct mesh_attempt *attempt)
{
	if (attempt->dial)
		derp_dial_cancel(attempt->dial);
	if (attempt->session)
		derp_session_close(attempt->session);
	if (attempt->link)
		derp_link_close(attempt->link);
	attempt->dial = NULL;
	attempt->session = NULL;
	attempt->link = NULL;
	ev_timer_stop(ev_of(attempt), &attempt->silence);
	keys_free(attempt);
	attempt->over = true;
}

static void end(struct mesh_attempt *attempt, const char *why)
{
	close_all(attempt);
	snprintf(attempt->why, sizeof(attempt->why), "%.255s", why);
	attempt->end_message.run = on_end_message;
	io_post(io_loop_control(), &attempt->end_message);
}

static void on_cancelled(struct io_message *message)
{
	struct mesh_attempt *attempt = OF(message, cancel_message);

	attempt->cancelled(attempt);
}

static void on_cancel(struct io_message *message)
{
	struct mesh_attempt *attempt = OF(message, cancel_message);

	if (!attempt->over)
		close_all(attempt);
	attempt->cancel_message.run = on_cancelled;
	io_post(io_loop_control(), &attempt->cancel_message);
}

void mesh_attempt_cancel(struct mesh_attempt *attempt)
{
	attempt->cancel_message.run = on_cancel;
	io_post(attempt->loop, &attempt->cancel_message);
}

/* ---- the link ---- */

/* "Not here" answers one packet, and a derper sends it whenever it comes to it: the client may be
 * back, and have been told of, before. */
static bool is_left(const uint8_t *payload, size_t len)
{
	return len >= DERP_KEY_LEN &&
	       (len == DERP_KEY_LEN || payload[DERP_KEY_LEN] == DERP_GONE_DISCONNECTED);
}

static bool on_link_frame(void *user, uint8_t type, const uint8_t *payload, size_t len)
{
	struct mesh_attempt *attempt = user;
	struct derp_present present;

	ev_timer_again(ev_of(attempt), &attempt->silence);
	if (type == DERP_PEER_PRESENT && derp_peer_present_get(&present, payload, len))
		key_add(attempt, present.key);
	else if (type == DERP_PEER_GONE && is_left(payload, len))
		key_remove(attempt, payload);
	return true;
}

static void on_link_closed(void *user, const char *why)
{
	struct mesh_attempt *attempt = user;

	attempt->link = NULL;
	end(attempt, why);
}

static const struct derp_link_ops link_ops = {.frame = on_link_frame, .closed = on_link_closed};

static void on_silence(struct ev_loop *loop, ev_timer *watcher, int revents)
{
	(void)loop, (void)revents;
	end(watcher->data, "it is silent");
}

static void on_up_message(struct io_message *message)
{
	struct mesh_attempt *attempt = OF(message, up_message);

	attempt->up(attempt);
}

static void link_open(struct mesh_attempt *attempt)
{
	struct io_stream *stream = derp_session_detach(attempt->session);

	attempt->session = NULL;
	attempt->address = stream->from;
	ev_timer_again(ev_of(attempt), &attempt->silence);
	attempt->link = derp_link_open(stream, &attempt->server, &link_ops, attempt);
	if (!attempt->link) {
		end(attempt, "this relay takes no connection");
		return;
	}
	attempt->up_message.run = on_up_message;
	io_post(io_loop_control(), &attempt->up_message);
}

/* ---- until it is up ---- */

static void on_session_up(void *user)
{
	struct mesh_attempt *attempt = user;

	attempt->server = *derp_session_server(attempt->session);
	attempt->self = memcmp(&attempt->server, attempt->own, sizeof(attempt->server)) == 0;
	if (attempt->self)
		end(attempt, "it is this node itself");
	else
		link_open(attempt);
}

static void on_session_frame(void *user, const struct derp_frame *frame)
{
	(void)user, (void)frame; /* `up` comes before the first, and ends the session */
}

static void on_session_down(void *user, int error, const char *why)
{
	(void)error;
	end(user, why);
}

static const struct derp_session_ops session_ops = {
	.up = on_session_up,
	.frame = on_session_frame,
	.down = on_session_down,
};

static void on_dialled(
	void *user, const struct derp_dialled *dialled, int error, const struct err *why)
{
	struct mesh_attempt *attempt = user;
	struct derp_client_info info = {.version = DERP_VERSION,
		.has_mesh_key = true,
		.mesh_key = *attempt->mesh_key,
		.can_ack_pings = true};
	struct derp_session_conf conf = {.loop = ev_of(attempt),
		.dialled = dialled,
		.key = attempt->key,
		.info = &info,
		.ops = &session_ops,
		.user = attempt,
		.greet_timeout_ns = GREET_TIMEOUT_NS};

	(void)error;
	attempt->dial = NULL;
	if (!dialled) {
		secret_zero(&info, sizeof(info));
		end(attempt, why->msg);
		return;
	}
	attempt->session = derp_session_open(&conf);
	if (!attempt->session)
		abort();
	secret_zero(&info, sizeof(info));
}

static void on_begin(struct io_message *message)
{
	struct mesh_attempt *attempt = OF(message, begin_message);
	struct derp_dial_conf conf = {.loop = ev_of(attempt),
		.tls = attempt->tls,
		.target = &attempt->target,
		.done = on_dialled,
		.user = attempt};

	ev_init(&attempt->silence, on_silence);
	attempt->silence.repeat = SILENCE_S;
	attempt->silence.data = attempt;
	attempt->dial = derp_dial_start(&conf);
	if (!attempt->dial)
		abort();
}

void mesh_attempt_begin(struct mesh_attempt *attempt)
{
	secret_random(attempt->seed, sizeof(attempt->seed));
	attempt->begin_message.run = on_begin;
	io_post(attempt->loop, &attempt->begin_message);
}
