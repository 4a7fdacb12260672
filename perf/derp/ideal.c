/* SPDX-License-Identifier: BSD-3-Clause */
#include "ideal.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "peer.h"

#define CLIENTS_MAX 4096
#define READ_BYTES (256 << 10)
#define FRAME_MAX (FRAME_HEADER + KEY_BYTES + 65536)

struct client {
	struct peer peer;
	struct client *last; /* whom it sent to: mostly the same again */
	uint8_t *rest;       /* the begin of a frame that was not whole */
	size_t rest_bytes;
};

static struct client clients[CLIENTS_MAX];
static unsigned n_clients;
static uint8_t *buf;
static const struct target write_target; /* records carry many packets */

static struct client *client_find(struct client *from, const uint8_t key[KEY_BYTES])
{
	if (from->last && memcmp(from->last->peer.public, key, KEY_BYTES) == 0)
		return from->last;
	for (unsigned i = n_clients; i-- > 0;)
		if (clients[i].peer.fd >= 0 && memcmp(clients[i].peer.public, key, KEY_BYTES) == 0)
			return from->last = &clients[i];
	return NULL;
}

/* It waits for a slow client: with a window there is none. */
static void deliver(struct client *to, const uint8_t *frames, size_t bytes)
{
	struct pollfd room = {.fd = to->peer.fd, .events = POLLOUT};

	if (bytes == 0)
		return;
	peer_write(&to->peer, &write_target, frames, 1, bytes);
	while (peer_flush(&to->peer) > 0)
		poll(&room, 1, -1);
}

/* The frames of a burst, in runs for the same client; how many bytes were whole frames. */
static size_t carry(struct client *from, uint8_t *at, size_t n)
{
	struct client *to = NULL, *now;
	size_t start = 0, end = 0, frame;

	while (n - end >= FRAME_HEADER + KEY_BYTES) {
		frame = FRAME_HEADER + be32_get(at + end + 1);
		if (frame > FRAME_MAX)
			errx(1, "a frame of %zu bytes", frame);
		if (n - end < frame)
			break;
		now = at[end] == FRAME_SEND_PACKET ? client_find(from, at + end + FRAME_HEADER)
						   : NULL;
		if (now != to || !now) {
			if (to)
				deliver(to, at + start, end - start);
			start = end;
			to = now;
		}
		at[end] = FRAME_RECV_PACKET;
		memcpy(at + end + FRAME_HEADER, from->peer.public, KEY_BYTES);
		end += frame;
	}
	if (to)
		deliver(to, at + start, end - start);
	return end;
}

static void client_serve(struct client *c)
{
	size_t whole, n;
	ssize_t got;

	memcpy(buf, c->rest, c->rest_bytes);
	got = peer_read(&c->peer, buf + c->rest_bytes, READ_BYTES);
	if (got < 0) {
		peer_close(&c->peer);
		free(c->rest);
		c->rest = NULL;
		return;
	}
	n = c->rest_bytes + (size_t)got;
	whole = carry(c, buf, n);
	c->rest_bytes = n - whole;
	memcpy(c->rest, buf + whole, c->rest_bytes);
}

static void client_accept(int listener, int epoll, SSL_CTX *tls, const struct peer *relay)
{
	struct client *c = &clients[n_clients];
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0 || n_clients == CLIENTS_MAX)
		err(1, "accept");
	peer_accept(&c->peer, fd, tls, relay);
	c->rest = malloc(FRAME_MAX);
	if (!c->rest || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		err(1, "a client");
	n_clients++;
}

static SSL_CTX *server_tls(const char *certificate)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (!ctx || SSL_CTX_use_certificate_chain_file(ctx, certificate) != 1 ||
		SSL_CTX_use_PrivateKey_file(ctx, certificate, SSL_FILETYPE_PEM) != 1)
		errx(1, "%s: no certificate and key", certificate);
	tls_records_watch(ctx);
	return ctx;
}

static int listen_at(uint16_t port)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
		bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 128) < 0)
		err(1, "port %u", port);
	return fd;
}

void ideal_serve(uint16_t port, const char *certificate)
{
	int listener = listen_at(port), epoll = epoll_create1(EPOLL_CLOEXEC), n;
	SSL_CTX *tls = certificate ? server_tls(certificate) : NULL;
	struct epoll_event events[64], event = {.events = EPOLLIN};
	struct peer relay;

	crypto_box_keypair(relay.public, relay.secret);
	buf = malloc(FRAME_MAX + READ_BYTES);
	if (epoll < 0 || !buf || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0)
		err(1, "epoll");
	puts("ready");
	fflush(stdout);
	for (;;) {
		n = epoll_wait(epoll, events, 64, -1);
		if (n < 0 && errno != EINTR)
			err(1, "epoll_wait");
		for (int i = 0; i < n; i++)
			if (events[i].data.ptr)
				client_serve(events[i].data.ptr);
			else
				client_accept(listener, epoll, tls, &relay);
	}
}
