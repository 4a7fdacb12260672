/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection's bytes, plain, in TLS, in WebSocket frames. Runs on: its I/O loop.
 *
 * TLS works between buffers of the loop: what one read brought is opened record by record, and
 * records are sealed one behind the other and written at once. After the handshake a connection of
 * TLS 1.3 needs its keys alone (tailplane/tls_records.h). Others stay with OpenSSL, which sees no
 * socket, so that it keeps nothing but the start of a record, and never waits.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <tailplane/websocket.h>

#include "relay.h"

#define RECORD_MAX TLS_TEXT_MAX
#define RECORD_OVERHEAD 256
#define SEALED_ENOUGH (4 * RECORD_MAX) /* of one write: what the socket does not take is kept */
#define SEALED_MAX (SEALED_ENOUGH + RECORD_MAX + RECORD_OVERHEAD)
#define RAW_MAX (4 * SEALED_MAX) /* of answers to one that wants many and takes none */

static BIO_METHOD *method;

/* ---- between OpenSSL and the loop's buffers ---- */

static bool raw_append(struct conn *conn, const uint8_t *bytes, size_t len)
{
	uint32_t before = conn->raw.size;
	bool done = conn->raw.len + len <= RAW_MAX && bytes_append(&conn->raw, bytes, len);

	COUNT(conn->loop, memory_bytes, conn->raw.size - before);
	return done;
}

static void raw_free(struct conn *conn)
{
	UNCOUNT(conn->loop, memory_bytes, conn->raw.size);
	bytes_free(&conn->raw);
}

/* The start of a record goes in front of what the next read brings. */
static bool part_keep(struct conn *conn, const uint8_t *bytes, size_t len)
{
	if (!len)
		return true;
	conn->part = limit_input(conn, len) ? malloc(len) : NULL;
	if (!conn->part)
		return false;
	memcpy(conn->part, bytes, len);
	conn->part_len = (uint32_t)len;
	COUNT(conn->loop, memory_bytes, len);
	return true;
}

static void part_free(struct conn *conn)
{
	UNCOUNT(conn->loop, memory_bytes, conn->part_len);
	free(conn->part);
	conn->part = NULL;
	conn->part_len = 0;
}

static int bio_read(BIO *bio, char *to, int len)
{
	struct derp_loop *loop = ((struct conn *)BIO_get_data(bio))->loop;
	size_t n = loop->cipher_len - loop->cipher_at;

	BIO_clear_retry_flags(bio);
	if (!n) {
		BIO_set_retry_read(bio);
		return -1;
	}
	if (n > (size_t)len)
		n = (size_t)len;
	memcpy(to, loop->cipher + loop->cipher_at, n);
	loop->cipher_at += n;
	return (int)n;
}

static int bio_write(BIO *bio, const char *bytes, int len)
{
	struct conn *conn = BIO_get_data(bio);
	struct derp_loop *loop = conn->loop;

	BIO_clear_retry_flags(bio);
	if (loop->sealed_len + (size_t)len > SEALED_MAX)
		return -1;
	memcpy(loop->sealed + loop->sealed_len, bytes, (size_t)len);
	loop->sealed_len += (size_t)len;
	return len;
}

static long bio_ctrl(BIO *bio, int cmd, long number, void *arg)
{
	(void)bio, (void)number, (void)arg;
	return cmd == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

bool wire_init(struct derp_loop *loop)
{
	if (!method) { /* the first loop's; loops are opened one after the other */
		method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "derp");
		if (!method)
			return false;
		BIO_meth_set_read(method, bio_read);
		BIO_meth_set_write(method, bio_write);
		BIO_meth_set_ctrl(method, bio_ctrl);
		BIO_meth_set_create(method, bio_create);
	}
	loop->cipher = malloc(READ_MAX);
	loop->sealed = malloc(SEALED_MAX);
	loop->gather = malloc(RECORD_MAX);
	return loop->cipher && loop->sealed && loop->gather;
}

void wire_fini(struct derp_loop *loop)
{
	free(loop->cipher);
	free(loop->sealed);
	free(loop->gather);
}

/* What the front door read ahead is for whoever opens the records. */
static bool take_ahead(struct conn *conn)
{
	const uint8_t *bytes = NULL;
	size_t len = tls_ahead(conn->stream->tls, &bytes);

	conn->part_new = len > 0;
	return part_keep(conn, bytes, len);
}

bool wire_attach(struct conn *conn)
{
	BIO *bio;

	if (!conn->stream->tls)
		return true;
	if (!take_ahead(conn))
		return false;
	conn->tls = true;
	conn->records = tls_records_take(conn->stream->tls);
	if (conn->records) {
		SSL_free(conn->stream->tls);
		conn->stream->tls = NULL;
		return true;
	}
	bio = BIO_new(method);
	if (!bio) {
		part_free(conn);
		return false;
	}
	BIO_set_data(bio, conn);
	SSL_set_bio(conn->stream->tls, bio, bio);
	return true;
}

static ssize_t send_bytes(const struct conn *conn, const uint8_t *bytes, size_t len)
{
	ssize_t n;

	do
		n = send(conn->stream->fd, bytes, len, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* TLS says goodbye; nobody waits for it to arrive. */
static void say_goodbye(struct conn *conn)
{
	struct derp_loop *loop = conn->loop;
	SSL *tls = conn->stream->tls;

	loop->sealed_len = 0;
	if (conn->records && !conn->raw.len)
		loop->sealed_len = tls_records_goodbye(conn->records, loop->sealed);
	else if (tls && !conn->raw.len)
		SSL_shutdown(tls);
	if (loop->sealed_len)
		send_bytes(conn, loop->sealed, loop->sealed_len);
	loop->sealed_len = 0;
	ERR_clear_error();
}

bool wire_end(struct conn *conn)
{
	if (conn->raw.len || conn->websocket)
		return false;
	say_goodbye(conn);
	return shutdown(conn->stream->fd, SHUT_WR) == 0;
}

void wire_detach(struct conn *conn)
{
	say_goodbye(conn);
	if (conn->stream->tls)
		SSL_set_quiet_shutdown(conn->stream->tls, 1);
	tls_records_free(conn->records);
	conn->records = NULL;
	raw_free(conn);
	part_free(conn);
}

/* ---- out ---- */

/* False: some of it is still here, or (errno) the connection is broken. */
static int raw_send(struct conn *conn)
{
	ssize_t n;

	if (!conn->raw.len)
		return 0;
	n = send_bytes(conn, conn->raw.data + conn->raw.at, conn->raw.len - conn->raw.at);
	if (n < 0)
		return (int)n;
	conn->raw.at += (uint32_t)n;
	if (conn->raw.at < conn->raw.len)
		return -EAGAIN;
	raw_free(conn);
	return 0;
}

/* What was sealed goes out, or is kept. 0 or broken. */
static int sealed_send(struct conn *conn)
{
	struct derp_loop *loop = conn->loop;
	ssize_t n = 0;

	if (!loop->sealed_len)
		return 0;
	if (!conn->raw.len)
		n = send_bytes(conn, loop->sealed, loop->sealed_len);
	if (n < 0 && n != -EAGAIN)
		return (int)n;
	if (n < 0)
		n = 0;
	if ((size_t)n < loop->sealed_len) {
		conn->blocked = true;
		if (!raw_append(conn, loop->sealed + n, loop->sealed_len - (size_t)n))
			return -ENOMEM;
	}
	loop->sealed_len = 0;
	return 0;
}

/* One record's worth into the loop's sealed bytes. */
static int seal(struct conn *conn, const uint8_t *bytes, size_t len)
{
	struct derp_loop *loop = conn->loop;
	int n;

	if (!conn->tls) {
		memcpy(loop->sealed + loop->sealed_len, bytes, len);
		loop->sealed_len += len;
		return 0;
	}
	if (conn->records) {
		size_t sealed = tls_records_seal(
			conn->records, TLS_TEXT, bytes, len, loop->sealed + loop->sealed_len);

		loop->sealed_len += sealed;
		return sealed ? 0 : -EPROTO;
	}
	n = SSL_write(conn->stream->tls, bytes, (int)len);
	if (n == (int)len)
		return 0;
	ERR_clear_error();
	return -EPROTO;
}

/* Where in an array of bytes we are. */
struct place {
	const struct iovec *iov;
	int n;
	size_t skip;
};

static size_t take(struct place *place, size_t max, const uint8_t **bytes)
{
	size_t len = place->iov->iov_len - place->skip;

	*bytes = (uint8_t *)place->iov->iov_base + place->skip;
	if (len > max) {
		place->skip += max;
		return max;
	}
	place->iov++;
	place->n--;
	place->skip = 0;
	return len;
}

/* Puts a record's text together, behind `head` bytes; how much. */
static size_t gather(struct place *place, uint8_t *to, size_t head)
{
	const uint8_t *bytes;
	size_t at = head;

	while (place->n && at < RECORD_MAX) {
		size_t len = take(place, RECORD_MAX - at, &bytes);

		memcpy(to + at, bytes, len);
		at += len;
	}
	return at - head;
}

/* Seals one record's worth; how much of the text that is. */
static ssize_t seal_next(struct conn *conn, struct place *place)
{
	uint8_t *to = conn->loop->gather;
	const uint8_t *text = to;
	size_t len, header;
	int rc;

	if (conn->websocket) {
		len = gather(place, to, WEBSOCKET_HEADER_MAX);
		header = websocket_header(to + WEBSOCKET_HEADER_MAX, len);
		rc = seal(conn, to + WEBSOCKET_HEADER_MAX - header, header + len);
		return rc ? rc : (ssize_t)len;
	}
	if (place->n == 1 || place->iov->iov_len - place->skip >= RECORD_MAX)
		len = take(place, RECORD_MAX, &text);
	else
		len = gather(place, to, 0);
	rc = seal(conn, text, len);
	return rc ? rc : (ssize_t)len;
}

static ssize_t coded_write(struct conn *conn, const struct iovec *iov, int n)
{
	struct place place = {iov, n, 0};
	int rc = wire_continue(conn);
	ssize_t len, total = 0;

	if (rc)
		return rc;
	conn->loop->sealed_len = 0;
	while (place.n && conn->loop->sealed_len < SEALED_ENOUGH) {
		len = seal_next(conn, &place);
		if (len < 0)
			return len;
		total += len;
	}
	rc = sealed_send(conn);
	return rc ? rc : total;
}

int wire_continue(struct conn *conn)
{
	int rc = raw_send(conn);

	if (rc == -EAGAIN)
		conn->blocked = true;
	return rc;
}

bool wire_wrap(struct conn *conn, const char *head)
{
	conn->loop->sealed_len = 0;
	conn->websocket = calloc(1, sizeof(*conn->websocket));
	return conn->websocket && seal(conn, (const uint8_t *)head, strlen(head)) == 0 &&
	       sealed_send(conn) == 0;
}

ssize_t wire_write(struct conn *conn, const struct iovec *iov, int n)
{
	struct msghdr message = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n};
	ssize_t rc;

	COUNT(conn->loop, loop_writes, 1);
	if (conn->tls || conn->websocket)
		return coded_write(conn, iov, n);
	do
		rc = sendmsg(conn->stream->fd, &message, MSG_NOSIGNAL);
	while (rc < 0 && errno == EINTR);
	if (rc < 0 && errno == EAGAIN)
		conn->blocked = true;
	return rc < 0 ? -errno : rc;
}

/* ---- in ---- */

static ssize_t receive(struct conn *conn, uint8_t *to, size_t len)
{
	ssize_t n;

	do
		n = recv(conn->stream->fd, to, len, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Behind what is kept, which then is in the loop's buffer, too; how much is in it. 0: the end. */
static ssize_t receive_behind(struct conn *conn, size_t len)
{
	struct derp_loop *loop = conn->loop;
	size_t before = conn->part_len;
	ssize_t n;

	if (before)
		memcpy(loop->cipher, conn->part, before);
	n = receive(conn, loop->cipher + before, (len < READ_MAX ? len : READ_MAX) - before);
	if (n <= 0 && !conn->part_new)
		return n;
	conn->part_new = false;
	return (ssize_t)before + (n > 0 ? n : 0);
}

static ssize_t records_read(struct conn *conn, uint8_t *to, size_t len)
{
	struct derp_loop *loop = conn->loop;
	ssize_t n = receive_behind(conn, len);
	size_t have;

	if (n <= 0)
		return n;
	have = len = (size_t)n;
	n = tls_records_open(conn->records, loop->cipher, &len, to);
	if (n < 0)
		return n;
	part_free(conn);
	if (!part_keep(conn, loop->cipher + len, have - len))
		return -ENOMEM;
	conn->ended = tls_records_ended(conn->records);
	return n || conn->ended ? n : -EAGAIN;
}

/* What OpenSSL makes of a row of records; 0: the end. */
static ssize_t open_records(struct conn *conn, uint8_t *to, size_t len)
{
	SSL *tls = conn->stream->tls;
	size_t total = 0;
	int n, why;

	while (total < len) {
		n = SSL_read(tls, to + total, (int)(len - total));
		if (n <= 0) {
			why = SSL_get_error(tls, n);
			ERR_clear_error();
			if (why == SSL_ERROR_WANT_READ)
				break;
			if (why != SSL_ERROR_ZERO_RETURN)
				return -EPROTO;
			conn->ended = true;
			return (ssize_t)total;
		}
		total += (size_t)n;
	}
	return total ? (ssize_t)total : -EAGAIN;
}

static ssize_t tls_read(struct conn *conn, uint8_t *to, size_t len)
{
	struct derp_loop *loop = conn->loop;
	ssize_t n = receive_behind(conn, len - TLS_MORE);
	int rc;

	if (n == -EAGAIN && !SSL_has_pending(conn->stream->tls))
		return n;
	if (n <= 0 && n != -EAGAIN)
		return n;
	part_free(conn); /* OpenSSL keeps what is not whole */
	loop->cipher_at = 0;
	loop->cipher_len = n > 0 ? (size_t)n : 0;
	loop->sealed_len = 0;
	n = open_records(conn, to, len);
	/* an answer to a change of keys */
	rc = sealed_send(conn);
	if (conn->raw.len)
		output_dirty(conn);
	return rc ? rc : n;
}

static ssize_t unwrap(struct conn *conn, uint8_t *to, ssize_t n)
{
	struct websocket *ws = conn->websocket;
	struct derp_loop *loop = conn->loop;
	int rc = 0;

	n = websocket_read(ws, to, (size_t)n);
	if (n < 0)
		return n == -ECONNRESET ? 0 : n;
	if (ws->pong_len && conn->raw.len < WEBSOCKET_PONG_MAX) {
		loop->sealed_len = 0;
		rc = seal(conn, ws->pong, ws->pong_len);
		if (!rc)
			rc = sealed_send(conn);
		if (conn->raw.len)
			output_dirty(conn);
	}
	ws->pong_len = 0;
	return rc ? rc : n ? n : -EAGAIN;
}

ssize_t wire_read(struct conn *conn, uint8_t *to, size_t len)
{
	ssize_t n;

	if (conn->stream->early)
		n = io_stream_read(conn->stream, to, len);
	else if (conn->records)
		n = records_read(conn, to, len);
	else if (conn->stream->tls)
		n = tls_read(conn, to, len);
	else
		n = receive(conn, to, len < READ_MAX ? len : READ_MAX);
	if (n > 0)
		COUNT(conn->loop, loop_reads, 1);
	return n > 0 && conn->websocket ? unwrap(conn, to, n) : n;
}

bool wire_pending(const struct conn *conn)
{
	return conn->stream->early || conn->part_new ||
	       (conn->stream->tls && SSL_pending(conn->stream->tls));
}
