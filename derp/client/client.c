/* SPDX-License-Identifier: BSD-3-Clause */
/* Thread of the loop. */
#include "client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/ssl.h>
#include <tailplane/loop.h>

#include "session.h"
#include "tls.h"

#define RETRY_MIN_NS 100000000ull
#define RETRY_MAX_NS 5000000000ull
#define GREET_TIMEOUT_NS 10000000000ull

struct relay_client {
	struct relay_client_conf conf;
	struct symmetric_key mesh_key;
	struct derp_target *targets;
	unsigned target; /* index of the one that is tried, or in use */
	unsigned tries;
	uint64_t backoff_ns;
	ev_timer retry;
	struct derp_dial *dial; /* at most one of dial, session, and the timer */
	struct derp_session *session;
	struct derp_dialled dialled; /* times */
	uint64_t tried_at, up_ns;
};

static const struct derp_session_ops session_ops;

void relay_client_free(struct relay_client *client)
{
	ev_timer_stop(client->conf.loop, &client->retry);
	if (client->dial)
		derp_dial_cancel(client->dial);
	if (client->session)
		derp_session_close(client->session);
	SSL_CTX_free(client->conf.tls);
	free(client->targets);
	secret_zero(client, sizeof(*client));
	free(client);
}

/* ---- tries ---- */

/* Half of it to all of it, so that clients of a relay that died do not come at once. */
static double jittered_s(uint64_t ns)
{
	uint32_t random;

	secret_random(&random, sizeof(random));
	return (double)ns / 1e9 * (.5 + (double)random / UINT32_MAX / 2.);
}

static void retry_in(struct relay_client *client, double seconds)
{
	ev_timer_stop(client->conf.loop, &client->retry);
	ev_timer_set(&client->retry, seconds, 0.);
	ev_timer_start(client->conf.loop, &client->retry);
}

/* The next node of the region at once; after the last, the first again when some time is over. */
static void next_try(struct relay_client *client)
{
	if (++client->target < client->conf.n_targets) {
		retry_in(client, 0.);
		return;
	}
	client->target = 0;
	if (client->conf.once)
		return;
	retry_in(client, jittered_s(client->backoff_ns));
	client->backoff_ns *= 2;
	if (client->backoff_ns > client->conf.retry_max_ns)
		client->backoff_ns = client->conf.retry_max_ns;
}

/* May free the client: nothing after it. */
static void tell_down(struct relay_client *client, int error, const char *why)
{
	if (client->conf.ops->down)
		client->conf.ops->down(client->conf.user, error, why);
}

static void failed(struct relay_client *client, int error, const char *why)
{
	client->tries++;
	next_try(client);
	tell_down(client, error, why);
}

static void on_session_down(void *user, int error, const char *why)
{
	struct relay_client *client = user;
	bool was_up = derp_session_is_up(client->session);

	derp_session_close(client->session);
	client->session = NULL;
	if (was_up) {
		/* from the first node on: it is the best one, and all of them may be well */
		client->target = client->conf.n_targets - 1;
		client->backoff_ns = client->conf.retry_min_ns;
	}
	failed(client, error, why);
}

static void on_dialled(
	void *user, const struct derp_dialled *dialled, int error, const struct err *why)
{
	struct relay_client *client = user;
	struct derp_client_info info = {.version = DERP_VERSION,
		.has_mesh_key = client->conf.mesh_key != NULL,
		.mesh_key = client->mesh_key,
		.can_ack_pings = true,
		.is_prober = client->conf.prober};
	struct derp_session_conf conf = {.loop = client->conf.loop,
		.dialled = dialled,
		.key = &client->conf.key,
		.info = &info,
		.ops = &session_ops,
		.user = client,
		.greet_timeout_ns = GREET_TIMEOUT_NS};

	client->dial = NULL;
	if (!dialled) {
		secret_zero(&info, sizeof(info));
		failed(client, error, why->msg);
		return;
	}
	client->dialled = *dialled;
	client->session = derp_session_open(&conf);
	if (!client->session)
		abort();
	secret_zero(&info, sizeof(info));
}

static void try_now(struct ev_loop *loop, ev_timer *watcher, int revents)
{
	struct relay_client *client = watcher->data;
	struct derp_dial_conf conf = {.loop = loop,
		.tls = client->conf.tls,
		.target = &client->targets[client->target],
		.done = on_dialled,
		.user = client};

	(void)revents;
	client->dialled = (struct derp_dialled){0};
	client->tried_at = core_now();
	client->up_ns = 0;
	client->dial = derp_dial_start(&conf);
	if (!client->dial)
		abort();
}

struct relay_client *relay_client_new(const struct relay_client_conf *conf)
{
	struct relay_client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	client->conf = *conf;
	client->targets = calloc(conf->n_targets, sizeof(*client->targets));
	if (!client->targets) {
		free(client);
		return NULL;
	}
	memcpy(client->targets, conf->targets, conf->n_targets * sizeof(*client->targets));
	client->conf.targets = client->targets;
	if (conf->mesh_key)
		client->mesh_key = *conf->mesh_key;
	if (!conf->retry_min_ns)
		client->conf.retry_min_ns = RETRY_MIN_NS;
	if (!conf->retry_max_ns)
		client->conf.retry_max_ns = RETRY_MAX_NS;
	client->backoff_ns = client->conf.retry_min_ns;
	if (conf->tls)
		SSL_CTX_up_ref(conf->tls);
	ev_timer_init(&client->retry, try_now, 0., 0.);
	client->retry.data = client;
	ev_timer_start(conf->loop, &client->retry);
	return client;
}

/* ---- frames ---- */

static void take_packet(struct relay_client *client, const struct derp_frame *frame)
{
	struct public_key from;

	if (frame->len < DERP_KEY_LEN || !client->conf.ops->packet)
		return;
	memcpy(from.bytes, frame->payload, DERP_KEY_LEN);
	client->conf.ops->packet(
		client->conf.user, &from, frame->payload + DERP_KEY_LEN, frame->len - DERP_KEY_LEN);
}

static void take_present(struct relay_client *client, const struct derp_frame *frame)
{
	struct derp_present present;

	if (client->conf.ops->present &&
		derp_peer_present_get(&present, frame->payload, frame->len))
		client->conf.ops->present(client->conf.user, &present);
}

static void take_gone(struct relay_client *client, const struct derp_frame *frame)
{
	struct public_key peer;

	if (frame->len < DERP_KEY_LEN || !client->conf.ops->gone)
		return;
	memcpy(peer.bytes, frame->payload, DERP_KEY_LEN);
	/* old relays give no reason */
	client->conf.ops->gone(client->conf.user, &peer,
		frame->len > DERP_KEY_LEN ? frame->payload[DERP_KEY_LEN] : DERP_GONE_DISCONNECTED);
}

static void take_pong(struct relay_client *client, const struct derp_frame *frame)
{
	if (frame->len >= DERP_PING_LEN && client->conf.ops->pong)
		client->conf.ops->pong(client->conf.user, frame->payload);
}

#define HEALTH_MAX 256

/* Printable: it ends in logs. */
static void take_health(struct relay_client *client, const struct derp_frame *frame)
{
	size_t len = frame->len < HEALTH_MAX ? frame->len : HEALTH_MAX;
	char text[HEALTH_MAX + 1];

	for (size_t i = 0; i < len; i++)
		text[i] = (char)(frame->payload[i] < ' ' || frame->payload[i] == 0x7f
					 ? '?'
					 : frame->payload[i]);
	text[len] = '\0';
	if (client->conf.ops->health)
		client->conf.ops->health(client->conf.user, text);
}

static void take_restarting(struct relay_client *client, const struct derp_frame *frame)
{
	if (frame->len >= 8 && client->conf.ops->restarting)
		client->conf.ops->restarting(client->conf.user, derp_be32_get(frame->payload),
			derp_be32_get(frame->payload + 4));
}

static void on_frame(void *user, const struct derp_frame *frame)
{
	static void (*const take[])(struct relay_client *, const struct derp_frame *) = {
		[DERP_RECV_PACKET] = take_packet,
		[DERP_PEER_GONE] = take_gone,
		[DERP_PEER_PRESENT] = take_present,
		[DERP_PONG] = take_pong,
		[DERP_HEALTH] = take_health,
		[DERP_RESTARTING] = take_restarting,
	};

	if (frame->type < sizeof(take) / sizeof(take[0]) && take[frame->type])
		take[frame->type](user, frame);
}

static int send_frame(struct relay_client *client, enum derp_frame_type type,
	const struct iovec *parts, unsigned n)
{
	if (!client->session || !derp_session_is_up(client->session))
		return -ENOTCONN;
	return derp_session_send(client->session, type, parts, n);
}

static void on_up(void *user)
{
	struct relay_client *client = user;

	client->tries = 0;
	client->up_ns = core_now() - client->tried_at;
	if (client->conf.preferred)
		relay_client_preferred(client, true);
	if (client->conf.watch)
		send_frame(client, DERP_WATCH_CONNS, NULL, 0);
	if (client->conf.ops->up)
		client->conf.ops->up(client->conf.user, derp_session_server(client->session));
}

static const struct derp_session_ops session_ops = {
	.up = on_up,
	.frame = on_frame,
	.down = on_session_down,
};

static struct iovec part(const void *bytes, size_t len)
{
	return (struct iovec){.iov_base = (void *)bytes, .iov_len = len};
}

int relay_client_send(
	struct relay_client *client, const struct public_key *to, const void *packet, size_t len)
{
	const struct iovec parts[] = {part(to, sizeof(*to)), part(packet, len)};

	if (len > DERP_PACKET_MAX)
		return -EMSGSIZE;
	if (!client->session || !derp_session_is_up(client->session))
		return -ENOTCONN;
	if (!derp_session_allows(client->session, sizeof(*to) + len))
		return -ENOBUFS;
	return derp_session_send(client->session, DERP_SEND_PACKET, parts, 2);
}

int relay_client_forward(struct relay_client *client, const struct public_key *from,
	const struct public_key *to, const void *packet, size_t len)
{
	const struct iovec parts[] = {
		part(from, sizeof(*from)), part(to, sizeof(*to)), part(packet, len)};

	if (len > DERP_PACKET_MAX)
		return -EMSGSIZE;
	return send_frame(client, DERP_FORWARD_PACKET, parts, 3);
}

int relay_client_ping(struct relay_client *client, const uint8_t data[static 8])
{
	const struct iovec parts[] = {part(data, DERP_PING_LEN)};

	return send_frame(client, DERP_PING, parts, 1);
}

void relay_client_preferred(struct relay_client *client, bool preferred)
{
	const uint8_t byte = preferred;
	const struct iovec parts[] = {part(&byte, 1)};

	client->conf.preferred = preferred;
	send_frame(client, DERP_NOTE_PREFERRED, parts, 1);
}

int relay_client_close_peer(struct relay_client *client, const struct public_key *peer)
{
	const struct iovec parts[] = {part(peer, sizeof(*peer))};

	return send_frame(client, DERP_CLOSE_PEER, parts, 1);
}

struct relay_client_facts relay_client_facts(const struct relay_client *client)
{
	struct relay_client_facts facts = {.target = client->target,
		.tcp_ns = client->dialled.tcp_ns,
		.tls_ns = client->dialled.tls_ns,
		.http_ns = client->dialled.http_ns,
		.up_ns = client->up_ns,
		.fast = client->dialled.fast,
		.tries = client->tries};

	if (!client->session)
		return facts;
	facts.up = derp_session_is_up(client->session);
	facts.server = *derp_session_server(client->session);
	facts.address = derp_session_stream(client->session)->from;
	facts.tls = derp_session_stream(client->session)->tls;
	facts.limit_bytes_per_s = derp_session_info(client->session)->token_bucket_bytes_per_second;
	return facts;
}
