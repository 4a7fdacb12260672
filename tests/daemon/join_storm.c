/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Machines that register over real sockets, some at a time, with a server that may die at any
 * moment:
 *
 *   join_storm HOST PORT SERVER-KEY(hex) SEED < one pre-auth key a line, each a machine's
 *
 * Tells, a line each: "ack NODE-KEY MACHINE-KEY" when the server said that the node is registered,
 * "lost NODE-KEY MACHINE-KEY" when the connection went before an answer, "refused NODE-KEY WORDS".
 * Three of four machines that lost try again, as clients do; the others never come back.
 */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sodium.h>

#include "ts_client.h"

#define AT_ONCE 16
#define MACHINES_MAX 4096
#define KEY_HEX 65

struct machine {
	struct private_key key;
	char machine_hex[KEY_HEX], node_hex[KEY_HEX], auth_key[128];
	bool over;
};

/* One connection, which serves one machine after the other. */
struct worker {
	struct machine *machine; /* NULL: idle */
	struct ts_client *client;
	int fd;
	bool asked;
	char answer[4096];
	size_t len;
	int status;
};

static struct machine machines[MACHINES_MAX];
static size_t n_machines, next_machine;
static struct addrinfo *server_address;
static struct public_key server_key;
static const char *host;

static void on_status(void *user, int32_t stream, int status)
{
	(void)stream;
	((struct worker *)user)->status = status;
}

static void on_data(void *user, int32_t stream, const uint8_t *bytes, size_t len)
{
	struct worker *w = user;

	(void)stream;
	if (len > sizeof(w->answer) - 1 - w->len)
		len = sizeof(w->answer) - 1 - w->len;
	memcpy(w->answer + w->len, bytes, len);
	w->len += len;
	w->answer[w->len] = 0;
}

static void on_end(void *user, int32_t stream, uint32_t error)
{
	struct worker *w = user;
	struct machine *m = w->machine;

	(void)stream;
	if (error)
		return; /* the connection ends next */
	if (w->status == 200 && strstr(w->answer, "\"MachineAuthorized\":true"))
		printf("ack %s %s\n", m->node_hex, m->machine_hex);
	else
		printf("refused %s %d %.200s\n", m->node_hex, w->status, w->answer);
	m->over = true;
}

static void hang_up(struct worker *w)
{
	struct machine *m = w->machine;

	if (w->asked && !m->over) {
		printf("lost %s %s\n", m->node_hex, m->machine_hex);
		m->over = (m - machines) % 4 == 0;
	}
	ts_client_free(w->client);
	if (w->fd >= 0)
		close(w->fd);
	if (m->over)
		w->machine = NULL;
	w->client = NULL;
	w->fd = -1;
	w->asked = false;
}

/* False: nobody listens now. */
static bool dial(struct worker *w)
{
	static const struct ts_client_ops ops = {on_status, on_data, on_end, false};
	struct ts_client_conf conf = {.host = host,
		.machine = w->machine->key,
		.server = server_key,
		.version = 142,
		.ops = &ops,
		.user = w};

	w->fd = socket(server_address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	w->len = 0;
	w->client = ts_client_new(&conf);
	if (!w->client)
		exit(2);
	return !connect(w->fd, server_address->ai_addr, server_address->ai_addrlen);
}

static void ask(struct worker *w)
{
	char body[1024];
	int n = snprintf(body, sizeof(body),
		"{\"Version\":142,\"NodeKey\":\"nodekey:%s\",\"Auth\":{\"AuthKey\":\"%s\"},"
		"\"Expiry\":\"0001-01-01T00:00:00Z\",\"Hostinfo\":{\"Hostname\":\"storm-%zu\","
		"\"OS\":\"linux\"}}",
		w->machine->node_hex, w->machine->auth_key, (size_t)(w->machine - machines));

	ts_client_request(w->client, "POST", "/machine/register", "unused", body, (size_t)n);
	w->asked = true;
}

static bool transmit(struct worker *w)
{
	const uint8_t *out;
	size_t len;

	while ((out = ts_client_output(w->client, &len))) {
		ssize_t n = send(w->fd, out, len, MSG_NOSIGNAL);

		if (n < 0)
			return false;
		ts_client_sent(w->client, (size_t)n);
	}
	return true;
}

static bool receive(struct worker *w)
{
	uint8_t bytes[16384];
	ssize_t n = read(w->fd, bytes, sizeof(bytes));

	return n > 0 && !ts_client_input(w->client, bytes, (size_t)n) && !w->machine->over;
}

/* A machine, a connection, a request; false: none of them to be had now. */
static bool prepare(struct worker *w)
{
	if (!w->machine && next_machine < n_machines)
		w->machine = &machines[next_machine++];
	if (!w->machine)
		return false;
	if (w->fd >= 0)
		return true;
	if (!dial(w)) {
		hang_up(w);
		return false;
	}
	ask(w);
	if (transmit(w))
		return true;
	hang_up(w);
	return false;
}

static void read_machines(uint64_t seed)
{
	uint8_t bytes[randombytes_SEEDBYTES] = {0}, random[64];
	char line[sizeof(machines->auth_key)];

	while (n_machines < MACHINES_MAX && fgets(line, sizeof(line), stdin)) {
		struct machine *m = &machines[n_machines];
		uint8_t public[32];
		uint64_t mix[2] = {seed, n_machines++};

		memcpy(bytes, mix, sizeof(mix));
		randombytes_buf_deterministic(random, sizeof(random), bytes);
		memcpy(m->key.bytes, random, 32);
		crypto_scalarmult_base(public, m->key.bytes);
		sodium_bin2hex(m->machine_hex, KEY_HEX, public, 32);
		sodium_bin2hex(m->node_hex, KEY_HEX, random + 32, 32);
		snprintf(m->auth_key, sizeof(m->auth_key), "%.*s", (int)strcspn(line, "\n"), line);
	}
}

static bool turn(struct worker *workers)
{
	struct pollfd fds[AT_ONCE];
	bool busy = false;

	for (unsigned i = 0; i < AT_ONCE; i++) {
		bool open = prepare(&workers[i]);

		busy |= workers[i].machine != NULL;
		fds[i] = (struct pollfd){open ? workers[i].fd : -1, POLLIN, 0};
	}
	/* those that were refused try again after it */
	if (poll(fds, AT_ONCE, 10) < 0)
		return false;
	for (unsigned i = 0; i < AT_ONCE; i++)
		if (fds[i].revents && (!receive(&workers[i]) || !transmit(&workers[i])))
			hang_up(&workers[i]);
	return busy;
}

int main(int argc, char **argv)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	static struct worker workers[AT_ONCE];

	if (argc != 5 || sodium_init() < 0 ||
		getaddrinfo(argv[1], argv[2], &hints, &server_address))
		return 2;
	host = argv[1];
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (sodium_hex2bin(server_key.bytes, 32, argv[3], strlen(argv[3]), NULL, NULL, NULL))
		return 2;
	read_machines(strtoull(argv[4], NULL, 10));
	for (unsigned i = 0; i < AT_ONCE; i++)
		workers[i].fd = -1;
	while (turn(workers))
		;
	freeaddrinfo(server_address);
	return 0;
}
