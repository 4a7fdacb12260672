/* SPDX-License-Identifier: BSD-3-Clause */
#include "peer.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char REQUEST[] = "GET /derp HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\n"
			      "Upgrade: DERP\r\n\r\n";
static const uint8_t MAGIC[8] = "DERP\xf0\x9f\x94\x91";

void be32_put(uint8_t *at, uint32_t value)
{
	value = htonl(value);
	memcpy(at, &value, sizeof(value));
}

uint32_t be32_get(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return ntohl(value);
}

uint8_t *frame_head(uint8_t *at, uint8_t type, const uint8_t key[KEY_BYTES], size_t payload)
{
	at[0] = type;
	be32_put(at + 1, (uint32_t)(KEY_BYTES + payload));
	memcpy(at + FRAME_HEADER, key, KEY_BYTES);
	return at + FRAME_HEADER + KEY_BYTES;
}

/* ---- blocking, while it is opened ----------------------------------------------------------- */

struct opening {
	struct peer *p;
	uint8_t buf[2048];
	size_t have, used;
};

static void write_all(struct peer *p, const void *data, size_t n)
{
	if (p->tls) {
		if (SSL_write(p->tls, data, (int)n) != (int)n)
			errx(1, "TLS: the relay takes no data");
	} else if (send(p->fd, data, n, MSG_NOSIGNAL) != (ssize_t)n) {
		err(1, "send");
	}
}

static void read_more(struct opening *o)
{
	ssize_t got;

	if (o->have == sizeof(o->buf))
		errx(1, "the relay says too much");
	if (o->p->tls)
		got = SSL_read(o->p->tls, o->buf + o->have, (int)(sizeof(o->buf) - o->have));
	else
		got = recv(o->p->fd, o->buf + o->have, sizeof(o->buf) - o->have, 0);
	if (got <= 0)
		errx(1, "the relay ended the handshake after: %.*s", (int)o->have, (char *)o->buf);
	o->have += (size_t)got;
}

/* `begin`: how it must. */
static void read_head(struct opening *o, const char *begin)
{
	char *end;

	while (!(end = memmem(o->buf, o->have, "\r\n\r\n", 4)))
		read_more(o);
	if (memcmp(o->buf, begin, strlen(begin)) != 0)
		errx(1, "not %s but: %.*s", begin, (int)(end - (char *)o->buf), (char *)o->buf);
	o->used = (size_t)((uint8_t *)end + 4 - o->buf);
}

/* The payload of the next frame. */
static const uint8_t *read_frame(struct opening *o, uint8_t type, size_t min, size_t *n)
{
	const uint8_t *frame;

	while (o->have - o->used < FRAME_HEADER)
		read_more(o);
	frame = o->buf + o->used;
	*n = be32_get(frame + 1);
	if (frame[0] != type || *n < min || *n > sizeof(o->buf) - o->used - FRAME_HEADER)
		errx(1, "the relay sends frame %u of %zu bytes instead of %u", frame[0], *n, type);
	while (o->have - o->used < FRAME_HEADER + *n)
		read_more(o);
	o->used += FRAME_HEADER + *n;
	return frame + FRAME_HEADER;
}

/* A nonce and the box behind it; how many bytes. */
static size_t box_put(
	uint8_t *at, const char *text, const uint8_t to[KEY_BYTES], const uint8_t secret[KEY_BYTES])
{
	randombytes_buf(at, crypto_box_NONCEBYTES);
	if (crypto_box_easy(at + crypto_box_NONCEBYTES, (const uint8_t *)text, strlen(text), at, to,
		    secret) != 0)
		errx(1, "the other's key is none");
	return crypto_box_NONCEBYTES + crypto_box_MACBYTES + strlen(text);
}

static void send_client_info(struct peer *p, const uint8_t relay[KEY_BYTES])
{
	uint8_t frame[256];
	size_t box = box_put(frame + FRAME_HEADER + KEY_BYTES,
		"{\"version\":2,\"CanAckPings\":true}", relay, p->secret);

	frame_head(frame, FRAME_CLIENT_INFO, p->public, box);
	write_all(p, frame, FRAME_HEADER + KEY_BYTES + box);
}

static void handshake(struct peer *p)
{
	struct opening o = {.p = p};
	uint8_t relay[KEY_BYTES], text[256];
	const uint8_t *frame;
	size_t n;

	write_all(p, REQUEST, sizeof(REQUEST) - 1);
	read_head(&o, "HTTP/1.1 101");
	frame = read_frame(&o, FRAME_SERVER_KEY, sizeof(MAGIC) + KEY_BYTES, &n);
	if (memcmp(frame, MAGIC, sizeof(MAGIC)) != 0)
		errx(1, "the relay's first frame has another magic");
	memcpy(relay, frame + sizeof(MAGIC), KEY_BYTES);
	crypto_box_keypair(p->public, p->secret);
	send_client_info(p, relay);
	frame = read_frame(&o, FRAME_SERVER_INFO, crypto_box_NONCEBYTES + crypto_box_MACBYTES, &n);
	if (n - crypto_box_NONCEBYTES - crypto_box_MACBYTES > sizeof(text) ||
		crypto_box_open_easy(text, frame + crypto_box_NONCEBYTES, n - crypto_box_NONCEBYTES,
			frame, relay, p->secret) != 0)
		errx(1, "the relay's ServerInfo does not open");
	if (o.used != o.have)
		errx(1, "%zu bytes behind ServerInfo", o.have - o.used);
}

static int ticket_keep(SSL *tls, SSL_SESSION *ticket)
{
	struct target *target = SSL_get_app_data(tls);

	if (!target)
		return 0;
	SSL_SESSION_free(target->ticket);
	target->ticket = ticket;
	return 1;
}

SSL_CTX *peer_tls(bool for_crowd)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (!ctx)
		errx(1, "OpenSSL");
	/* what Tailscale's clients offer first on a machine with AES instructions */
	SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256");
	SSL_CTX_set1_groups_list(ctx, "X25519:P-256");
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, ticket_keep);
	if (!for_crowd)
		tls_records_watch(ctx);
	return ctx;
}

static void tls_open(struct peer *p, struct target *target)
{
	p->tls = SSL_new(target->tls);
	if (!p->tls || SSL_set_fd(p->tls, p->fd) != 1)
		errx(1, "OpenSSL");
	if (target->resume) {
		SSL_set_app_data(p->tls, target);
		if (target->ticket)
			SSL_set_session(p->tls, target->ticket);
	}
	if (SSL_connect(p->tls) != 1) {
		ERR_print_errors_fp(stderr);
		errx(1, "the TLS handshake failed");
	}
	target->resumed += SSL_session_reused(p->tls) == 1;
}

static void opened(struct peer *p, bool crowd)
{
	if (p->tls && !crowd) {
		p->records = tls_records_take(p->tls);
		if (!p->records)
			errx(1, "the relay's TLS is not that of other relays");
		peer_forget_tls(p);
	}
	fcntl(p->fd, F_SETFL, fcntl(p->fd, F_GETFL) | O_NONBLOCK);
}

void peer_open(struct peer *p, struct target *target)
{
	int one = 1;

	*p = (struct peer){.fd = socket(target->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	if (p->fd < 0 || connect(p->fd, (struct sockaddr *)&target->at, target->at_len) < 0)
		err(1, "the relay");
	setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (target->tls)
		tls_open(p, target);
	handshake(p);
	opened(p, target->crowd);
}

static void handshake_of_relay(struct peer *p, const struct peer *relay)
{
	static const char ANSWER[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\n"
				     "Connection: Upgrade\r\n\r\n";
	struct opening o = {.p = p};
	uint8_t frame[256] = {FRAME_SERVER_KEY};
	size_t n;

	read_head(&o, "GET /derp");
	write_all(p, ANSWER, sizeof(ANSWER) - 1);
	be32_put(frame + 1, sizeof(MAGIC) + KEY_BYTES);
	memcpy(frame + FRAME_HEADER, MAGIC, sizeof(MAGIC));
	memcpy(frame + FRAME_HEADER + sizeof(MAGIC), relay->public, KEY_BYTES);
	write_all(p, frame, FRAME_HEADER + sizeof(MAGIC) + KEY_BYTES);
	memcpy(p->public, read_frame(&o, FRAME_CLIENT_INFO, KEY_BYTES, &n), KEY_BYTES);
	frame[0] = FRAME_SERVER_INFO;
	n = box_put(frame + FRAME_HEADER, "{\"version\":2}", p->public, relay->secret);
	be32_put(frame + 1, (uint32_t)n);
	write_all(p, frame, FRAME_HEADER + n);
}

void peer_accept(struct peer *p, int fd, SSL_CTX *tls, const struct peer *relay)
{
	int one = 1;

	*p = (struct peer){.fd = fd};
	setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (tls) {
		p->tls = SSL_new(tls);
		if (!p->tls || SSL_set_fd(p->tls, fd) != 1 || SSL_accept(p->tls) != 1)
			errx(1, "the TLS handshake failed");
	}
	handshake_of_relay(p, relay);
	opened(p, false);
}

void peer_forget_tls(struct peer *p)
{
	if (!p->tls)
		return;
	SSL_set_quiet_shutdown(p->tls, 1);
	SSL_shutdown(p->tls); /* says nothing, but its ticket stays good */
	SSL_free(p->tls);
	p->tls = NULL;
}

void peer_close(struct peer *p)
{
	peer_forget_tls(p);
	tls_records_free(p->records);
	free(p->sealed);
	free(p->part);
	close(p->fd);
	*p = (struct peer){.fd = -1};
}

/* ---- non-blocking, in use ------------------------------------------------------------------- */

static void make_room(struct peer *p, size_t bytes)
{
	if (bytes <= p->sealed_size)
		return;
	p->sealed = realloc(p->sealed, bytes);
	if (!p->sealed)
		err(1, "memory");
	p->sealed_size = bytes;
}

void peer_write(
	struct peer *p, const struct target *t, const uint8_t *frames, size_t n, size_t frame_bytes)
{
	size_t step = t->one_a_record ? frame_bytes : TLS_TEXT_MAX, bytes = n * frame_bytes, one;

	p->rest = frames;
	p->rest_bytes = bytes;
	if (!p->records)
		return;
	make_room(p, bytes + (bytes / step + 1) * TLS_SEAL_MORE);
	p->rest = p->sealed;
	p->rest_bytes = 0;
	for (size_t at = 0; at < bytes; at += one) {
		one = bytes - at < step ? bytes - at : step;
		p->rest_bytes += tls_records_seal(
			p->records, TLS_TEXT, frames + at, one, p->sealed + p->rest_bytes);
	}
}

size_t peer_flush(struct peer *p)
{
	ssize_t sent;

	if (p->rest_bytes == 0)
		return 0;
	sent = send(p->fd, p->rest, p->rest_bytes, MSG_NOSIGNAL);
	if (sent < 0 && errno == EAGAIN)
		return p->rest_bytes;
	if (sent < 0)
		err(1, "the relay ended a connection");
	p->rest += sent;
	p->rest_bytes -= (size_t)sent;
	return p->rest_bytes;
}

static ssize_t receive(const struct peer *p, uint8_t *to, size_t room)
{
	ssize_t got = recv(p->fd, to, room, 0);

	if (got > 0)
		return got;
	return got < 0 && errno == EAGAIN ? 0 : -1;
}

static void part_keep(struct peer *p, const uint8_t *bytes, size_t n)
{
	p->part_bytes = n;
	if (n == 0)
		return;
	if (!p->part)
		p->part = malloc(TLS_RECORD_MAX);
	if (!p->part)
		err(1, "memory");
	memcpy(p->part, bytes, n);
}

static ssize_t records_read(struct peer *p, uint8_t *to, size_t room)
{
	static _Thread_local uint8_t in[256 << 10];
	size_t have = p->part_bytes, len;
	ssize_t got;

	if (room > sizeof(in))
		room = sizeof(in);
	if (have)
		memcpy(in, p->part, have);
	got = receive(p, in + have, room - have);
	if (got <= 0)
		return got;
	len = have += (size_t)got;
	got = tls_records_open(p->records, in, &len, to);
	if (got < 0 || tls_records_ended(p->records))
		return -1;
	part_keep(p, in + len, have - len);
	return got;
}

ssize_t peer_read(struct peer *p, uint8_t *to, size_t room)
{
	return p->records ? records_read(p, to, room) : receive(p, to, room);
}
