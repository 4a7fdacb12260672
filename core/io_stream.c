/* SPDX-License-Identifier: BSD-3-Clause */
/* A connection as bytes, TLS or not. Runs on: the thread that owns the stream. */
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tailplane/io.h>

#include "tls_socket.h"

#define TLS_RECORD_MAX 16384

static ssize_t take_early(struct io_stream *stream, void *buf, size_t len)
{
	size_t n = stream->early_len - stream->early_at;

	if (n > len)
		n = len;
	memcpy(buf, stream->early + stream->early_at, n);
	stream->early_at += n;
	if (stream->early_at == stream->early_len) {
		free(stream->early);
		stream->early = NULL;
		stream->early_len = stream->early_at = 0;
	}
	return (ssize_t)n;
}

static ssize_t tls_error(struct io_stream *stream, int rc)
{
	int why = SSL_get_error(stream->tls, rc);
	int number = errno;

	ERR_clear_error();
	switch (why) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		return number ? -number : -ECONNRESET;
	default:
		return -EPROTO;
	}
}

/* As much as was read already: no short answer while more of it is hidden. */
static ssize_t tls_read(struct io_stream *stream, uint8_t *buf, size_t len)
{
	size_t total = 0;
	int n;

	ERR_clear_error(); /* others' errors in this thread would be taken for ours */
	do {
		n = SSL_read(stream->tls, buf + total, len > INT_MAX ? INT_MAX : (int)len);
		if (n <= 0)
			break;
		total += (size_t)n;
		len -= (size_t)n;
	} while (len && (SSL_pending(stream->tls) || tls_record_is_ahead(stream->tls)));
	if (!total)
		return tls_error(stream, n);
	if (n <= 0)
		ERR_clear_error(); /* it will be said again */
	return (ssize_t)total;
}

ssize_t io_stream_read(struct io_stream *stream, void *buf, size_t len)
{
	ssize_t n;

	if (stream->early)
		return take_early(stream, buf, len);
	if (stream->tls)
		return tls_read(stream, buf, len);
	do
		n = read(stream->fd, buf, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* One record of what is to be written: TLS seals records, so small pieces are put together. */
static ssize_t tls_writev(struct io_stream *stream, const struct iovec *iov, int n)
{
	static _Thread_local uint8_t gather[TLS_RECORD_MAX];
	const void *bytes = gather;
	size_t len = 0;
	int rc;

	if (n == 1 || iov[0].iov_len >= TLS_RECORD_MAX) {
		bytes = iov[0].iov_base;
		len = iov[0].iov_len;
	}
	for (int i = 0; bytes == gather && i < n && len < TLS_RECORD_MAX; i++) {
		size_t room = TLS_RECORD_MAX - len;
		size_t part = iov[i].iov_len < room ? iov[i].iov_len : room;

		memcpy(gather + len, iov[i].iov_base, part);
		len += part;
	}
	ERR_clear_error();
	rc = SSL_write(stream->tls, bytes, len > INT_MAX ? INT_MAX : (int)len);
	if (rc > 0)
		return rc;
	rc = (int)tls_error(stream, rc);
	return rc ? rc : -EPIPE;
}

ssize_t io_stream_writev(struct io_stream *stream, const struct iovec *iov, int n)
{
	ssize_t rc;

	if (!stream->tls) {
		do /* send knows at once that it is a socket */
			rc = n == 1 ? send(stream->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
				    : writev(stream->fd, iov, n);
		while (rc < 0 && errno == EINTR);
		return rc < 0 ? -errno : rc;
	}
	while (n && !iov[0].iov_len)
		iov++, n--;
	if (!n)
		return 0;
	return tls_writev(stream, iov, n);
}

void io_stream_close(struct io_stream *stream)
{
	if (stream->tls) {
		if (SSL_is_init_finished(stream->tls))
			SSL_shutdown(stream->tls);
		SSL_free(stream->tls);
		ERR_clear_error();
	}
	if (stream->fd >= 0)
		close(stream->fd);
	free(stream->early);
	stream->tls = NULL;
	stream->early = NULL;
	stream->fd = -1;
}
