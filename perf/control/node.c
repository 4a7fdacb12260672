/* SPDX-License-Identifier: BSD-3-Clause */
/* One simulated node: its connection, registration and stream. Runs on: the generator's one
 * thread. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sodium.h>

#include "load.h"
#include "ts_client.h"
#include "x25519.h"

#define READ_MAX (256u << 10)
#define READS_A_TURN 4
#define RETRY_NS 100000000ull /* and up to as much again, so that they do not come in step */
#define PORTS_AN_ADDRESS 8192
/* Both ends' buffers are in one machine's memory for sockets, which is bounded. */
#define RECEIVE_BUFFER (256 << 10)

static uint8_t scratch[READ_MAX];

static void wait_until(struct node *node, uint64_t at)
{
	node->state = NODE_RETRY;
	node->retry_at = at;
	node->load->waiting++;
}

/* Its connection ends when who called returns. */
static void fail(struct node *node, const char *why)
{
	struct load *load = node->load;

	node->broken = true;
	if (!load->error[0])
		snprintf(load->error, sizeof(load->error), "node %u: %.200s", node->index, why);
}

static void lost(struct node *node)
{
	struct load *load = node->load;

	load->losses++;
	node_cut(node);
	wait_until(node, load_now() + RETRY_NS + node->index % 100 * (RETRY_NS / 100));
	load->retries++;
}

/* ---- answers ---- */

static int32_t ask_map(struct node *node, bool stream)
{
	size_t len;
	const char *text = say_map(node, stream, node->said_all, &len);

	return ts_client_request(node->client, "POST", "/machine/map", "control", text, len);
}

static void begin_stream(struct node *node)
{
	node->map_stream = ask_map(node, true);
	ask_map(node, false);
	stream_reset(node);
	node->state = NODE_STREAMING;
}

static void opened(struct node *node)
{
	if (node->since)
		node->load->opening--;
	node->since = 0;
}

static void registered(struct node *node)
{
	struct load *load = node->load;

	opened(node);
	if (!node->registered)
		load->registered++;
	node->registered = true;
	node->state = NODE_REGISTERED;
	if (load->streams)
		begin_stream(node);
}

static void on_status(void *user, int32_t stream, int status)
{
	struct node *node = user;
	char why[32];

	if (status == 200) {
		if (stream == node->map_stream)
			opened(node);
		return;
	}
	snprintf(why, sizeof(why), "status %d", status);
	fail(node, why);
}

static void on_data(void *user, int32_t stream, const uint8_t *bytes, size_t len)
{
	struct node *node = user;

	if (stream == node->map_stream) {
		if (!node->broken && !stream_take(node, bytes, len))
			node->broken = true;
		if (node->saw_self && !node->said_all) {
			node->said_all = true;
			ask_map(node, false);
		}
	} else if (stream == node->register_stream &&
		   node->answer_len + len < sizeof(node->answer)) {
		memcpy(node->answer + node->answer_len, bytes, len);
		node->answer_len += len;
		node->answer[node->answer_len] = '\0';
	}
}

static void on_end(void *user, int32_t stream, uint32_t error)
{
	struct node *node = user;

	if (stream == node->map_stream) {
		fail(node, "the server ended the stream");
	} else if (stream == node->register_stream) {
		node->register_stream = -1;
		if (!error && strstr(node->answer, "\"MachineAuthorized\":true"))
			registered(node);
		else
			fail(node, node->answer);
	}
}

static const struct ts_client_ops ops = {on_status, on_data, on_end, false};

/* ---- the connection ---- */

static void source_of(const struct node *node, struct sockaddr_in *from)
{
	*from = (struct sockaddr_in){.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(0x7f000100 + node->index / PORTS_AN_ADDRESS)};
}

static int dial(struct node *node)
{
	int on = 1, room = RECEIVE_BUFFER;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(node->load->conf.port)};
	struct sockaddr_in from;

	if (fd < 0)
		return -errno;
	inet_pton(AF_INET, node->load->conf.host, &to.sin_addr);
	source_of(node, &from);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&from, sizeof(from)) != 0 ||
		(connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS)) {
		int error = errno;

		close(fd);
		return -error;
	}
	return fd;
}

static void watch(struct node *node, int how, bool writable)
{
	struct epoll_event event = {
		.events = EPOLLIN | (writable ? EPOLLOUT : 0), .data.u32 = node->index};

	node->writable_wanted = writable;
	if (epoll_ctl(node->load->epoll, how, node->fd, &event) != 0)
		abort();
}

static void client_open(struct node *node)
{
	struct load *load = node->load;
	struct ts_client_conf conf = {.host = load->conf.host,
		.machine = node->machine,
		.server = load->conf.server,
		.version = load->conf.version,
		.ops = &ops,
		.user = node};
	const char *text;
	size_t len;

	node->client = ts_client_new(&conf);
	if (!node->client)
		abort();
	node->broken = false;
	node->answer_len = 0;
	node->register_stream = node->map_stream = -1;
	node->state = NODE_CONNECTING;
	if (!node->registered) {
		text = say_register(node, &len);
		node->register_stream = ts_client_request(
			node->client, "POST", "/machine/register", "control", text, len);
	} else {
		begin_stream(node);
	}
}

static void node_open(struct node *node)
{
	node->fd = dial(node);
	if (node->fd < 0) {
		fail(node, strerror(-node->fd));
		lost(node);
		return;
	}
	node->since = load_now();
	node->load->opening++;
	node->load->up++;
	if (node->asked)
		client_open(node);
	else
		node->state = NODE_ASKING;
	watch(node, EPOLL_CTL_ADD, true);
}

void node_cut(struct node *node)
{
	if (node->state == NODE_RETRY) {
		node->load->waiting--;
		node->state = NODE_DOWN;
	}
	if (node->fd < 0)
		return;
	opened(node);
	close(node->fd);
	node->fd = -1;
	ts_client_free(node->client);
	node->client = NULL;
	node->load->up--;
	node->state = NODE_DOWN;
	stream_reset(node);
}

/* False: the connection is gone. */
static bool send_out(struct node *node)
{
	const uint8_t *bytes;
	size_t len;

	while ((bytes = ts_client_output(node->client, &len))) {
		ssize_t n = send(node->fd, bytes, len, MSG_NOSIGNAL);

		if (n < 0 && (errno == EAGAIN || errno == ENOTCONN))
			break;
		if (n < 0)
			return false;
		ts_client_sent(node->client, (size_t)n);
	}
	if (!!bytes != node->writable_wanted)
		watch(node, EPOLL_CTL_MOD, bytes != NULL);
	return true;
}

static bool read_in(struct node *node)
{
	for (unsigned i = 0; i < READS_A_TURN; i++) {
		ssize_t n = recv(node->fd, scratch, sizeof(scratch), 0);

		if (n < 0 && errno == EAGAIN)
			return true;
		if (n <= 0)
			return false;
		node->load->bytes += (uint64_t)n;
		if (ts_client_input(node->client, scratch, (size_t)n) != 0 || node->broken)
			return false;
		if ((size_t)n < sizeof(scratch))
			return true;
	}
	return true;
}

/* What a client does before anything else, on a connection of its own. */
static void ask_key(struct node *node, uint32_t events)
{
	char text[256];
	int n;

	if (events & EPOLLIN) {
		if (recv(node->fd, scratch, sizeof(scratch), 0) > 12 &&
			memcmp(scratch, "HTTP/1.1 200", 12) == 0)
			node->asked = true;
		else
			fail(node, "the server does not tell its key");
		node_cut(node);
		wait_until(node, 0);
	} else if (events & (EPOLLHUP | EPOLLERR)) {
		fail(node, "no connection");
		lost(node);
	} else if (node->writable_wanted) {
		n = snprintf(text, sizeof(text),
			"GET /key?v=%u HTTP/1.1\r\nHost: %s\r\nUser-Agent: "
			"Go-http-client/1.1\r\n\r\n",
			node->load->conf.version, node->load->conf.host);
		if (send(node->fd, text, (size_t)n, MSG_NOSIGNAL) == n)
			watch(node, EPOLL_CTL_MOD, false);
		else
			lost(node);
	}
}

void node_event(struct node *node, uint32_t events)
{
	if (node->fd < 0)
		return;
	if (node->state == NODE_ASKING) {
		ask_key(node, events);
		return;
	}
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !read_in(node)) {
		if (*ts_client_error(node->client))
			fail(node, ts_client_error(node->client));
		lost(node);
	} else if (!send_out(node)) {
		lost(node);
	}
}

void node_report(struct node *node, unsigned number)
{
	node->change = number;
	ask_map(node, false);
	if (!send_out(node))
		lost(node);
}

/* ---- all ---- */

void nodes_run(struct load *load)
{
	uint64_t now = load->waiting ? load_now() : 0;

	for (unsigned i = 0; i < load->n && load->waiting && load->opening < load->conf.at_once;
		i++) {
		struct node *node = &load->nodes[load->next_due++ % load->n];

		if (node->state != NODE_RETRY || node->retry_at > now)
			continue;
		load->waiting--;
		node_open(node);
	}
}

void node_start(struct node *node)
{
	if (node->state == NODE_REGISTERED && node->fd >= 0 && node->load->streams) {
		begin_stream(node);
		if (!send_out(node))
			lost(node);
	} else if (node->state == NODE_DOWN) {
		wait_until(node, 0);
	}
}

void node_init(struct load *load, unsigned index)
{
	struct node *node = &load->nodes[index];

	memset(node, 0, sizeof(*node));
	node->load = load;
	node->index = index;
	node->fd = -1;
	node->decodes = index < load->conf.decode;
	x25519_generate(&node->machine);
	randombytes_buf(node->node_key, sizeof(node->node_key));
	randombytes_buf(node->disco_key, sizeof(node->disco_key));
	node->seen = calloc((load->ids_max + 63) / 64, 8);
	if (!node->seen)
		abort();
}

void node_fini(struct node *node)
{
	node_cut(node);
	free(node->seen);
}
