/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The socket below OpenSSL, read ahead. Runs on: the connection's thread.
 *
 * OpenSSL asks for each record's header and then for the rest, and its own reading ahead is of no
 * use to who takes a connection over: nobody else gets at those bytes. Here one read brings what
 * came together, which mostly is all that the other side had to say. What OpenSSL has not asked
 * for yet is kept, and is nothing while a connection is idle.
 */
#include "tls_socket.h"

#include <errno.h>
#include <openssl/bio.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <tailplane/tls_records.h>

#include "tls_records_check.h"

#define AHEAD 2048 /* a ClientHello, and what comes with Finished */
#define HEADER_LEN 5

struct tls_socket {
	int fd;
	bool shaking; /* one handshake's step is being done: what was there has been read */
	bool drained; /* in this step */
	bool ended;
	uint32_t at, len;
	uint8_t *bytes; /* heap; NULL: none */
};

static size_t give(struct tls_socket *socket, uint8_t *to, size_t len)
{
	size_t n = socket->len - socket->at;

	if (n > len)
		n = len;
	memcpy(to, socket->bytes + socket->at, n);
	socket->at += (uint32_t)n;
	if (socket->at == socket->len) {
		free(socket->bytes);
		socket->bytes = NULL;
		socket->at = socket->len = 0;
	}
	return n;
}

static ssize_t receive(int fd, uint8_t *to, size_t len)
{
	ssize_t n;

	do
		n = recv(fd, to, len, 0);
	while (n < 0 && errno == EINTR);
	return n;
}

/* At most `len` bytes to the caller, the rest is kept. */
static ssize_t receive_ahead(struct tls_socket *socket, uint8_t *to, size_t len)
{
	uint8_t bytes[AHEAD];
	ssize_t n = receive(socket->fd, bytes, sizeof(bytes));
	size_t more = n > (ssize_t)len ? (size_t)n - len : 0;

	if (more) {
		socket->bytes = malloc(more);
		if (!socket->bytes) {
			errno = ENOMEM;
			return -1;
		}
		memcpy(socket->bytes, bytes + len, more);
		socket->len = (uint32_t)more;
	}
	socket->drained = n > 0 && (size_t)n < sizeof(bytes);
	if (n > 0)
		memcpy(to, bytes, (size_t)n - more);
	return n > 0 ? n - (ssize_t)more : n;
}

static int on_read(BIO *bio, char *to, int len)
{
	struct tls_socket *socket = BIO_get_data(bio);
	ssize_t n;

	BIO_clear_retry_flags(bio);
	if (len <= 0)
		return 0;
	if (socket->bytes)
		return (int)give(socket, (uint8_t *)to, (size_t)len);
	if (socket->shaking && socket->drained) {
		BIO_set_retry_read(bio);
		return -1;
	}
	if (len < AHEAD)
		n = receive_ahead(socket, (uint8_t *)to, (size_t)len);
	else
		n = receive(socket->fd, (uint8_t *)to, (size_t)len);
	socket->ended |= n == 0;
	if (n < 0 && errno == EAGAIN)
		BIO_set_retry_read(bio);
	return (int)n;
}

static int on_write(BIO *bio, const char *bytes, int len)
{
	const struct tls_socket *socket = BIO_get_data(bio);
	ssize_t n;

	BIO_clear_retry_flags(bio);
	do
		n = send(socket->fd, bytes, (size_t)len, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		BIO_set_retry_write(bio);
	return (int)n;
}

static long on_ctrl(BIO *bio, int cmd, long number, void *arg)
{
	const struct tls_socket *socket = BIO_get_data(bio);

	(void)number, (void)arg;
	switch (cmd) {
	case BIO_CTRL_FLUSH:
		return 1;
	case BIO_CTRL_EOF:
		return socket->ended;
	case BIO_CTRL_PENDING:
		return (long)(socket->len - socket->at);
	default:
		return 0;
	}
}

static int on_create(BIO *bio)
{
	struct tls_socket *socket = calloc(1, sizeof(*socket));

	BIO_set_data(bio, socket);
	BIO_set_init(bio, 1);
	return socket != NULL;
}

static int on_destroy(BIO *bio)
{
	struct tls_socket *socket = BIO_get_data(bio);

	if (socket)
		free(socket->bytes);
	free(socket);
	return 1;
}

static BIO_METHOD *method;
static int method_type;

static void make_method(void)
{
	method_type = BIO_get_new_index() | BIO_TYPE_SOURCE_SINK;
	method = BIO_meth_new(method_type, "tailplane socket");
	if (!method)
		abort();
	BIO_meth_set_read(method, on_read);
	BIO_meth_set_write(method, on_write);
	BIO_meth_set_ctrl(method, on_ctrl);
	BIO_meth_set_create(method, on_create);
	BIO_meth_set_destroy(method, on_destroy);
}

static void ready(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_method);
}

bool tls_socket_set(SSL *tls, int fd)
{
	struct tls_socket *socket;
	BIO *bio;

	ready();
	bio = BIO_new(method);
	if (!bio)
		return false;
	socket = BIO_get_data(bio);
	socket->fd = fd;
	SSL_set_bio(tls, bio, bio);
	return true;
}

/* NULL: the connection has another BIO. */
static struct tls_socket *socket_of(const SSL *tls)
{
	BIO *bio = SSL_get_rbio(tls);

	ready();
	if (!bio || BIO_method_type(bio) != method_type)
		return NULL;
	return BIO_get_data(bio);
}

int tls_socket_shake(SSL *tls)
{
	struct tls_socket *socket = socket_of(tls);
	int rc;

	socket->shaking = true;
	socket->drained = false;
	tls_records_follow(tls);
	rc = SSL_do_handshake(tls);
	tls_records_follow(NULL);
	socket->shaking = false;
	return rc;
}

bool tls_record_is_ahead(const SSL *tls)
{
	const struct tls_socket *socket = socket_of(tls);
	const uint8_t *at;
	size_t len;

	if (!socket || socket->len - socket->at < HEADER_LEN)
		return false;
	at = socket->bytes + socket->at;
	len = socket->len - socket->at;
	return len - HEADER_LEN >= ((size_t)at[3] << 8 | at[4]);
}

size_t tls_ahead(const SSL *tls, const uint8_t **bytes)
{
	const struct tls_socket *socket = socket_of(tls);

	if (!socket || !socket->bytes)
		return 0;
	*bytes = socket->bytes + socket->at;
	return socket->len - socket->at;
}
