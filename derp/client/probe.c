/* SPDX-License-Identifier: BSD-3-Clause */
/* Thread of the loop. */
#include "probe.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <tailplane/loop.h>

#include "client.h"
#include "stun.h"
#include "tls.h"
#include "x25519.h"

#define TIMEOUT_NS 15000000000ull
#define ROUNDS 10
#define PACKET_LEN 32
#define STUN_EVERY_S 0.5
#define STUN_TRIES 4

enum side { NEAR, FAR };

/* What one address says of STUN. */
struct stun_ask {
	ev_io io;
	int fd;
	uint8_t txid[STUN_TXID_SIZE];
	uint64_t sent_at, rtt_ns;
	struct net_endpoint seen;
	struct derp_probe *probe;
};

struct derp_probe {
	struct derp_probe_conf conf;
	struct derp_target target;
	SSL_CTX *tls;
	struct relay_client *clients[2]; /* FAR is NULL where there is one key */
	struct public_key keys[2];
	unsigned n_clients, n_up;
	unsigned round;
	uint64_t rtt_ns[ROUNDS], sent_at, ping_ns;
	uint8_t packet[PACKET_LEN];
	struct stun_ask stun[DERP_ADDRESSES_MAX];
	unsigned stun_tries;
	ev_timer stun_timer, deadline, finish;
	bool relay_done;
	json_t *result;
};

/* ---- ends ---- */

static void stop(struct derp_probe *probe)
{
	struct ev_loop *loop = probe->conf.loop;

	for (unsigned i = 0; i < 2; i++) {
		if (probe->clients[i])
			relay_client_free(probe->clients[i]);
	}
	for (unsigned i = 0; i < DERP_ADDRESSES_MAX; i++) {
		if (probe->stun[i].fd < 0)
			continue;
		ev_io_stop(loop, &probe->stun[i].io);
		close(probe->stun[i].fd);
	}
	ev_timer_stop(loop, &probe->stun_timer);
	ev_timer_stop(loop, &probe->deadline);
	ev_timer_stop(loop, &probe->finish);
	SSL_CTX_free(probe->tls);
}

void derp_probe_cancel(struct derp_probe *probe)
{
	stop(probe);
	json_decref(probe->result);
	free(probe);
}

static json_t *stun_result(const struct derp_probe *probe)
{
	json_t *rows = json_array();
	char text[NET_ENDPOINT_STRLEN];

	for (unsigned i = 0; i < probe->target.n_addresses; i++) {
		const struct stun_ask *ask = &probe->stun[i];
		json_t *row = json_object();

		json_object_set_new(row, "address",
			json_string(net_addr_format(&probe->target.addresses[i].addr, text)));
		if (ask->rtt_ns) {
			json_object_set_new(row, "rtt", json_integer((json_int_t)ask->rtt_ns));
			json_object_set_new(
				row, "seen_as", json_string(net_endpoint_format(&ask->seen, text)));
		} else {
			json_object_set_new(row, "problem", json_string("no answer"));
		}
		json_array_append_new(rows, row);
	}
	return rows;
}

static void finish(struct derp_probe *probe)
{
	struct derp_probe_conf conf = probe->conf;
	json_t *result = probe->result;

	if (conf.stun_port)
		json_object_set_new(result, "stun", stun_result(probe));
	stop(probe);
	free(probe);
	conf.done(conf.user, result);
}

/* The watchers of who calls may be those that it stops: the end comes with the next turn. */
static void finish_soon(struct derp_probe *probe)
{
	if (!ev_is_active(&probe->finish))
		ev_timer_start(probe->conf.loop, &probe->finish);
}

static void on_finish(struct ev_loop *loop, ev_timer *watcher, int revents)
{
	(void)loop, (void)revents;
	finish(watcher->data);
}

static bool stun_done(const struct derp_probe *probe)
{
	for (unsigned i = 0; probe->conf.stun_port && i < probe->target.n_addresses; i++) {
		if (!probe->stun[i].rtt_ns && probe->stun_tries < STUN_TRIES)
			return false;
	}
	return true;
}

static void finish_if_done(struct derp_probe *probe)
{
	if (probe->relay_done && stun_done(probe))
		finish_soon(probe);
}

/* What STUN says is waited for: it is half of what somebody wants to know. */
static void problem(struct derp_probe *probe, const char *why)
{
	if (!json_object_get(probe->result, "problem"))
		json_object_set_new(probe->result, "problem", json_string(why));
	probe->relay_done = true;
	finish_if_done(probe);
}

static void on_deadline(struct ev_loop *loop, ev_timer *watcher, int revents)
{
	struct derp_probe *probe = watcher->data;

	(void)loop, (void)revents;
	problem(probe, probe->n_up < 2 ? "the relay does not answer in time"
				       : "packets through the relay do not arrive");
}

/* ---- through the relay ---- */

static void send_round(struct derp_probe *probe)
{
	secret_random(probe->packet, sizeof(probe->packet));
	probe->sent_at = core_now();
	if (relay_client_send(probe->clients[NEAR], &probe->keys[FAR], probe->packet, PACKET_LEN))
		problem(probe, "a packet cannot be sent");
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void rounds_done(struct derp_probe *probe)
{
	qsort(probe->rtt_ns, ROUNDS, sizeof(probe->rtt_ns[0]), by_size);
	json_object_set_new(probe->result, "rtt_min", json_integer((json_int_t)probe->rtt_ns[0]));
	json_object_set_new(
		probe->result, "rtt_median", json_integer((json_int_t)probe->rtt_ns[ROUNDS / 2]));
	json_object_set_new(
		probe->result, "rtt_max", json_integer((json_int_t)probe->rtt_ns[ROUNDS - 1]));
	json_object_set_new(probe->result, "ping", json_integer((json_int_t)probe->ping_ns));
	probe->relay_done = true;
	finish_if_done(probe);
}

static bool is_ours(const struct derp_probe *probe, const struct public_key *from,
	const uint8_t *packet, size_t len, enum side expected)
{
	return memcmp(from, &probe->keys[expected], sizeof(*from)) == 0 && len == PACKET_LEN &&
	       memcmp(packet, probe->packet, PACKET_LEN) == 0;
}

static void far_packet(void *user, const struct public_key *from, const uint8_t *packet, size_t len)
{
	struct derp_probe *probe = user;

	if (is_ours(probe, from, packet, len, NEAR))
		relay_client_send(probe->clients[FAR], &probe->keys[NEAR], packet, len);
}

static void near_packet(
	void *user, const struct public_key *from, const uint8_t *packet, size_t len)
{
	struct derp_probe *probe = user;

	if (probe->round == ROUNDS || !is_ours(probe, from, packet, len, FAR))
		return;
	probe->rtt_ns[probe->round++] = core_now() - probe->sent_at;
	if (probe->round < ROUNDS)
		send_round(probe);
	else
		rounds_done(probe);
}

static void near_pong(void *user, const uint8_t data[8])
{
	struct derp_probe *probe = user;

	if (memcmp(data, probe->packet, 8) != 0)
		return;
	probe->ping_ns = core_now() - probe->sent_at;
	send_round(probe);
}

/* ---- what it shows of itself ---- */

static void certificate_result(json_t *result, const SSL *tls)
{
	X509 *leaf = SSL_get0_peer_certificate(tls);
	char text[256], pin[65];
	struct tm ends;

	if (!leaf)
		return;
	X509_NAME_oneline(X509_get_subject_name(leaf), text, sizeof(text));
	json_object_set_new(result, "subject", json_string(text));
	X509_NAME_oneline(X509_get_issuer_name(leaf), text, sizeof(text));
	json_object_set_new(result, "issuer", json_string(text));
	if (ASN1_TIME_to_tm(X509_get0_notAfter(leaf), &ends) == 1)
		json_object_set_new(result, "expires", json_integer((json_int_t)timegm(&ends)));
	if (derp_tls_pin(tls, pin)) {
		snprintf(text, sizeof(text), DERP_CERT_PIN "%s", pin);
		json_object_set_new(result, "pin", json_string(text));
	}
}

static void facts_result(struct derp_probe *probe)
{
	struct relay_client_facts facts = relay_client_facts(probe->clients[NEAR]);
	json_t *result = probe->result;
	char text[NET_ENDPOINT_STRLEN], hex[65];

	sodium_bin2hex(hex, sizeof(hex), facts.server.bytes, sizeof(facts.server.bytes));
	json_object_set_new(result, "key", json_string(hex));
	json_object_set_new(
		result, "address", json_string(net_endpoint_format(&facts.address, text)));
	json_object_set_new(result, "fast_start", json_boolean(facts.fast));
	json_object_set_new(result, "tcp", json_integer((json_int_t)facts.tcp_ns));
	json_object_set_new(result, "up", json_integer((json_int_t)facts.up_ns));
	if (!facts.tls)
		return;
	json_object_set_new(result, "handshake", json_integer((json_int_t)facts.tls_ns));
	json_object_set_new(result, "tls", json_string(SSL_get_version(facts.tls)));
	json_object_set_new(result, "cipher", json_string(SSL_get_cipher_name(facts.tls)));
	certificate_result(result, facts.tls);
}

static void on_up(void *user, const struct public_key *server)
{
	struct derp_probe *probe = user;

	(void)server;
	if (++probe->n_up < probe->n_clients)
		return;
	facts_result(probe);
	secret_random(probe->packet, sizeof(probe->packet));
	probe->sent_at = core_now();
	if (relay_client_ping(probe->clients[NEAR], probe->packet))
		problem(probe, "a ping cannot be sent");
}

static void on_down(void *user, int error, const char *why)
{
	(void)error;
	problem(user, why);
}

/* ---- STUN ---- */

static void stun_send(struct stun_ask *ask)
{
	uint8_t request[STUN_REQUEST_SIZE];

	secret_random(ask->txid, sizeof(ask->txid));
	stun_request_write(request, ask->txid);
	ask->sent_at = core_now();
	if (send(ask->fd, request, sizeof(request), 0) < 0)
		ask->sent_at = 0; /* tried again, and then told as no answer */
}

static void on_stun(struct ev_loop *loop, ev_io *watcher, int revents)
{
	struct stun_ask *ask = watcher->data;
	uint8_t answer[512];
	ssize_t n;

	(void)loop, (void)revents;
	while ((n = recv(ask->fd, answer, sizeof(answer), 0)) > 0) {
		if (!ask->rtt_ns && stun_answer_read(answer, (size_t)n, ask->txid, &ask->seen))
			ask->rtt_ns = core_now() - ask->sent_at;
	}
	finish_if_done(ask->probe);
}

static void on_stun_timer(struct ev_loop *loop, ev_timer *watcher, int revents)
{
	struct derp_probe *probe = watcher->data;

	(void)loop, (void)revents;
	if (++probe->stun_tries < STUN_TRIES) {
		for (unsigned i = 0; i < probe->target.n_addresses; i++) {
			if (!probe->stun[i].rtt_ns && probe->stun[i].fd >= 0)
				stun_send(&probe->stun[i]);
		}
	} else {
		ev_timer_stop(loop, watcher);
	}
	finish_if_done(probe);
}

static void stun_start(struct derp_probe *probe, unsigned i)
{
	struct stun_ask *ask = &probe->stun[i];
	struct net_endpoint to = probe->target.addresses[i];
	struct sockaddr_storage address;
	socklen_t len;

	to.port = probe->conf.stun_port;
	len = net_endpoint_to_sockaddr(&to, &address);
	ask->fd = socket(address.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (ask->fd < 0)
		return;
	ask->probe = probe;
	ev_io_init(&ask->io, on_stun, ask->fd, EV_READ);
	ask->io.data = ask;
	if (connect(ask->fd, (struct sockaddr *)&address, len) != 0)
		return;
	ev_io_start(probe->conf.loop, &ask->io);
	stun_send(ask);
}

/* ---- begin ---- */

static void client_start(struct derp_probe *probe, enum side side)
{
	static const struct relay_client_ops ops[] = {
		[NEAR] = {.up = on_up, .down = on_down, .packet = near_packet, .pong = near_pong},
		[FAR] = {.up = on_up, .down = on_down, .packet = far_packet},
	};
	struct relay_client_conf conf = {.loop = probe->conf.loop,
		.tls = probe->tls,
		.targets = &probe->target,
		.n_targets = 1,
		.prober = true,
		.once = true,
		.ops = &ops[side],
		.user = probe};

	if (probe->conf.key)
		conf.key = *probe->conf.key;
	else
		x25519_generate(&conf.key);
	x25519_public(&probe->keys[side], &conf.key);
	probe->clients[side] = relay_client_new(&conf);
	secret_zero(&conf, sizeof(conf));
	if (!probe->clients[side])
		abort();
	probe->n_clients++;
}

static void init_timers(struct derp_probe *probe)
{
	uint64_t timeout = probe->conf.timeout_ns ? probe->conf.timeout_ns : TIMEOUT_NS;

	ev_timer_init(&probe->stun_timer, on_stun_timer, STUN_EVERY_S, STUN_EVERY_S);
	ev_timer_init(&probe->deadline, on_deadline, (double)timeout / 1e9, 0.);
	ev_timer_init(&probe->finish, on_finish, 0., 0.);
	probe->stun_timer.data = probe->deadline.data = probe->finish.data = probe;
	ev_timer_start(probe->conf.loop, &probe->deadline);
}

struct derp_probe *derp_probe_start(const struct derp_probe_conf *conf)
{
	struct derp_probe *probe = calloc(1, sizeof(*probe));

	if (!probe)
		return NULL;
	probe->conf = *conf;
	probe->target = *conf->target;
	probe->tls = conf->tls;
	SSL_CTX_up_ref(probe->tls);
	probe->result = json_object();
	if (!probe->result)
		abort();
	init_timers(probe);
	for (unsigned i = 0; i < DERP_ADDRESSES_MAX; i++)
		probe->stun[i].fd = -1;
	client_start(probe, NEAR);
	if (conf->key)
		probe->keys[FAR] = probe->keys[NEAR];
	else
		client_start(probe, FAR);
	probe->conf.key = NULL; /* the caller's */
	for (unsigned i = 0; conf->stun_port && i < probe->target.n_addresses; i++)
		stun_start(probe, i);
	if (conf->stun_port)
		ev_timer_start(conf->loop, &probe->stun_timer);
	return probe;
}
