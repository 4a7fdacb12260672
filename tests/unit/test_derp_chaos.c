/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Everything at once and at random on four loops: clients, duplicates, links, other processes of
 * the node, watchers, limits that change, keys that are closed. What arrives is whole frames with
 * what was sent; when all have gone nothing is left. For AddressSanitizer and ThreadSanitizer.
 */
#define WORLD_LOOPS 4

#include "derp_world.h"

#define ROUNDS 4000
#define KEYS 12
#define ENDS 32
#define PACKET 3000
#define IN_MAX (2 * DERP_FORWARD_FRAME_MAX)

enum what { NOBODY, CLIENT, NODE /* another one's client here */, LINK, KIN };

struct end {
	enum what what;
	struct client client;
	struct derp_link *link;
	sem_t ended; /* of the link */
	bool lazy;   /* reads seldom */
	uint8_t *in;
	size_t in_len;
};

static struct client keys[KEYS];
static struct end ends[ENDS];
static struct symmetric_key mesh_key = {.bytes = {7, 7, 7}};
static uint64_t random_state = 0x9e3779b97f4a7c15u;
static unsigned long packets;

static unsigned below(unsigned n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)((random_state >> 11) % n);
}

static bool on_frame(void *user, uint8_t type, const uint8_t *payload, size_t len)
{
	struct end *end = user;
	struct public_key key;

	if (len < sizeof(key))
		return true;
	memcpy(&key, payload, sizeof(key));
	if (type == DERP_PEER_PRESENT)
		derp_forwarder_add(end->link, &key);
	if (type == DERP_PEER_GONE)
		derp_forwarder_remove(end->link, &key);
	return true;
}

static void on_closed(void *user, const char *why)
{
	(void)why;
	sem_post(&((struct end *)user)->ended);
}

static const struct derp_link_ops ops = {on_frame, on_closed};

static void close_end(struct end *end)
{
	if (end->what == NOBODY)
		return;
	close(end->client.fd);
	free(end->in);
	end->in = NULL;
	end->in_len = 0;
	if (end->what == LINK) { /* it is in use until it says that it ended */
		io_flush();
		while (end->link && sem_wait(&end->ended) != 0)
			continue;
	}
	end->what = NOBODY;
}

static void out(struct end *end, const void *bytes, size_t len)
{
	if (end->what != NOBODY &&
		send(end->client.fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len)
		close_end(end);
}

static void say(struct end *end, uint8_t type, const void *payload, size_t len)
{
	uint8_t frame[DERP_HEADER_LEN + 200];

	derp_header_put(frame, type, (uint32_t)len);
	if (len)
		memcpy(frame + DERP_HEADER_LEN, payload, len);
	out(end, frame, DERP_HEADER_LEN + len);
}

static void introduce(struct end *end)
{
	struct derp_client_info info = {
		.version = 2, .has_mesh_key = end->what == NODE, .mesh_key = mesh_key};
	uint8_t frame[DERP_INFO_FRAME_MAX];
	ssize_t len = derp_client_info_seal(
		frame, sizeof(frame), &info, &end->client.key, &end->client.box);

	out(end, frame, (size_t)len);
}

static void open_kin(struct end *end)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
	end->client.fd = fds[0];
	derp_server_kin(fds[1], below(2));
}

static void open_client(struct end *end)
{
	end->client.fd = world_connect(below(WORLD_LOOPS), NULL);
	introduce(end);
	if (end->what == NODE && below(2))
		say(end, DERP_WATCH_CONNS, NULL, 0);
}

static void open_link(struct end *end, const struct client *node)
{
	struct arrival arrival = {.ops = &ops, .user = end, .link = &end->link, .peer = &node->key};

	sem_init(&end->ended, 0, 0);
	end->client.fd = world_connect(below(WORLD_LOOPS), &arrival);
}

static void open_end(struct end *end)
{
	const struct client *key = &keys[below(KEYS)];
	unsigned roll = below(20);

	close_end(end);
	memset(end, 0, sizeof(*end));
	end->in = malloc(IN_MAX);
	end->client = *key;
	end->lazy = below(8) == 0;
	end->what = roll < 13 ? CLIENT : roll < 16 ? NODE : roll < 19 ? LINK : KIN;
	if (end->what == LINK)
		open_link(end, key);
	else if (end->what == KIN)
		open_kin(end);
	else
		open_client(end);
}

static void check(const struct derp_frame *frame)
{
	const uint8_t *packet = frame->payload + DERP_KEY_LEN;
	size_t len = frame->len - DERP_KEY_LEN;

	if (frame->type == DERP_FORWARD_PACKET) {
		packet += DERP_KEY_LEN;
		len -= DERP_KEY_LEN;
	} else if (frame->type != DERP_RECV_PACKET) {
		assert_true(frame->type <= DERP_RESTARTING && frame->len <= 1000);
		return;
	}
	packets++;
	assert_true(len >= 100 && len <= PACKET);
	assert_int_equal(packet[70], (uint8_t)len);
	for (size_t i = 70; i < len; i++)
		if (packet[i] != (uint8_t)len)
			fail();
}

static void read_end(struct end *end)
{
	size_t at = 0;
	ssize_t n;

	if (end->what == NOBODY || (end->lazy && below(50)))
		return;
	n = recv(end->client.fd, end->in + end->in_len, IN_MAX - end->in_len, MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		close_end(end);
		return;
	}
	end->in_len += n > 0 ? (size_t)n : 0;
	for (;;) {
		struct derp_frame frame;

		n = derp_frame_get(&frame, end->in + at, end->in_len - at, DERP_FRAME_MAX);
		assert_true(n >= 0);
		if (!n)
			break;
		check(&frame);
		at += (size_t)n;
	}
	memmove(end->in, end->in + at, end->in_len - at);
	end->in_len -= at;
}

static uint8_t *put_packet(uint8_t *at, const uint8_t *to, bool forward)
{
	uint32_t len = 100 + below(below(3) ? 200 : PACKET - 100);

	derp_header_put(at, forward ? DERP_FORWARD_PACKET : DERP_SEND_PACKET,
		(forward ? 2 : 1) * DERP_KEY_LEN + len);
	at += DERP_HEADER_LEN;
	if (forward) {
		memcpy(at, keys[below(KEYS)].key.bytes, DERP_KEY_LEN);
		at += DERP_KEY_LEN;
	}
	memcpy(at, to, DERP_KEY_LEN);
	at += DERP_KEY_LEN;
	memset(at, (int)len, len);
	if (!below(3))
		memcpy(at, "TS\xf0\x9f\x92\xac", 6);
	return at + len;
}

static void burst(struct end *end)
{
	static uint8_t bytes[50 * (DERP_HEADER_LEN + 2 * DERP_KEY_LEN + PACKET)];
	bool forward = end->what == NODE || end->what == KIN;
	unsigned n = 1 + below(50), to = below(KEYS);
	uint8_t *at = bytes;

	if (end->what == NOBODY || end->what == LINK)
		return;
	for (unsigned i = 0; i < n; i++) {
		if (!below(4))
			to = below(KEYS);
		at = put_packet(at, keys[to].key.bytes, forward);
	}
	out(end, bytes, (size_t)(at - bytes));
}

static void presence(struct end *end)
{
	struct derp_present present = {.flags = DERP_PRESENT_REGULAR};
	uint8_t frame[DERP_HEADER_LEN + DERP_PEER_PRESENT_LEN];

	if (end->what != LINK && end->what != KIN)
		return;
	memcpy(present.key, keys[below(KEYS)].key.bytes, DERP_KEY_LEN);
	if (below(3))
		out(end, frame, derp_peer_present_put(frame, &present));
	else
		out(end, frame, derp_peer_gone_put(frame, present.key, DERP_GONE_DISCONNECTED));
}

static void listed(void *user, const struct derp_client *clients, size_t n)
{
	(void)user;
	for (size_t i = 0; i < n; i++)
		assert_true(clients[i].loop < WORLD_LOOPS);
}

static void settings(void)
{
	world_conf.client_rate = below(2) ? 0 : 10000 + below(100000000);
	world_conf.client_burst = below(2) ? 0 : below(1000000);
	world_conf.memory_max = below(2) ? 0 : 100000 + below(4000000);
	world_conf.write_timeout = below(2) ? 0 : 20 * MILLISECOND;
	world_conf.away = (50 + below(100)) * MILLISECOND;
	world_configure();
}

/* What people, settings and the control server want, now and then. */
static void order(struct end *end)
{
	const struct public_key *key = &keys[below(KEYS)].key;

	switch (below(6)) {
	case 0:
		derp_server_close_key(key);
		break;
	case 1:
		derp_server_health(below(2) ? "ill" : "");
		break;
	case 2:
		derp_server_clients(listed, NULL);
		break;
	case 3:
		settings();
		break;
	default:
		if (end->what == NODE || end->what == KIN)
			say(end, DERP_CLOSE_PEER, key->bytes, DERP_KEY_LEN);
	}
}

static void step(void)
{
	struct end *end = &ends[below(ENDS)];
	unsigned roll = below(1000);

	if (end->what == NOBODY ? !below(3) : roll < 8)
		open_end(end);
	else if (roll < 16)
		close_end(end);
	else if (roll < 28)
		order(end);
	else if (roll < 80)
		say(end, DERP_PING, "12345678", 8);
	else if (roll < 300)
		presence(end);
	else
		burst(end);
	for (unsigned i = 0; i < 4; i++)
		read_end(&ends[below(ENDS)]);
	if (!below(64))
		io_flush();
}

static bool all_gone(void *arg)
{
	(void)arg;
	return !figures().connections;
}

static _Atomic size_t peers_left;

static void count_peers(void *arg)
{
	(void)arg;
	peers_left += derp_loop_here()->peers.n + derp_loop_here()->sightings.n;
}

static bool none_left(void *arg)
{
	(void)arg;
	peers_left = 0;
	io_on_each(count_peers, NULL);
	return !peers_left;
}

static int begin(void **state)
{
	(void)state;
	world_start();
	world_conf.has_mesh_key = true;
	world_conf.mesh_key = mesh_key;
	world_conf.away = 100 * MILLISECOND;
	world_configure();
	for (unsigned i = 0; i < KEYS; i++)
		client_key(&keys[i]);
	return 0;
}

static void close_ends(void)
{
	for (unsigned i = 0; i < ENDS; i++)
		close_end(&ends[i]);
}

static void test_nothing_is_left(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++)
		step();
	close_ends();
	world_until(all_gone, NULL);
	world_settle();
	world_until(none_left, NULL);
	assert_true(packets > ROUNDS);
	assert_int_equal(figures().memory_bytes, 0);
	assert_int_equal(figures().queued_packets, 0);
	assert_int_equal(figures().clients_local, 0);
	assert_int_equal(figures().clients_remote, 0);
	assert_int_equal(figures().dup_client_keys, 0);
	assert_int_equal(figures().dup_client_connections, 0);
	assert_int_equal(figures().watchers, 0);
}

/* All are sent away, to another process or to none, and then the relay stops in the middle of it;
 * AddressSanitizer says what was left. */
static void test_the_end(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ROUNDS / 4; i++)
		step();
	derp_server_drain(SECOND / 2, *state != NULL, NULL, NULL);
	for (uint64_t until = core_now() + SECOND; core_now() < until; io_flush())
		step();
}

static int end(void **state)
{
	world_end(state);
	close_ends();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nothing_is_left, begin, end),
		cmocka_unit_test_setup_teardown(test_the_end, begin, end),
		cmocka_unit_test_prestate_setup_teardown(test_the_end, begin, end, keys),
	};

	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
