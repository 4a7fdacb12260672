/* SPDX-License-Identifier: BSD-3-Clause */
/* A server's end that reads ahead: nothing hides, nothing is lost, however the wire cuts it. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <tailplane/io.h>
#include <tailplane/tls_records.h>

#include "self_signed.h"
#include "tls_socket.h"

#define SAID_MAX (1 << 20)

/* The client says what it has to say into memory; the test puts it on the wire. */
struct ends {
	SSL_CTX *server_ctx, *client_ctx;
	SSL *client;
	BIO *said;
	struct io_stream stream; /* the server's end */
	int wire;
};

static void ends_open(struct ends *e, int version)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	*e = (struct ends){.server_ctx = SSL_CTX_new(TLS_server_method()),
		.client_ctx = SSL_CTX_new(TLS_client_method()),
		.said = BIO_new(BIO_s_mem()),
		.stream.fd = fds[0],
		.wire = fds[1]};
	self_sign(e->server_ctx);
	tls_records_watch(e->server_ctx);
	SSL_CTX_set_ciphersuites(e->server_ctx, "TLS_AES_128_GCM_SHA256");
	SSL_CTX_set_max_proto_version(e->client_ctx, version);
	e->client = SSL_new(e->client_ctx);
	SSL_set_fd(e->client, e->wire);
	BIO_up_ref(e->said);
	SSL_set0_wbio(e->client, e->said);
	SSL_set_connect_state(e->client);
	e->stream.tls = SSL_new(e->server_ctx);
	assert_true(tls_socket_set(e->stream.tls, e->stream.fd));
	SSL_set_accept_state(e->stream.tls);
}

static void ends_close(struct ends *e)
{
	io_stream_close(&e->stream);
	SSL_free(e->client);
	SSL_CTX_free(e->server_ctx);
	SSL_CTX_free(e->client_ctx);
	BIO_free(e->said);
	close(e->wire);
	ERR_clear_error();
}

/* Puts up to `max` bytes of what the client said on the wire; how many. */
static size_t deliver(struct ends *e, size_t max)
{
	static uint8_t bytes[SAID_MAX];
	int n = BIO_read(e->said, bytes, max < sizeof(bytes) ? (int)max : (int)sizeof(bytes));

	if (n <= 0)
		return 0;
	assert_int_equal(write(e->wire, bytes, (size_t)n), n);
	return (size_t)n;
}

/* All but the client's last words, which are not on the wire yet. */
static void shake_hands(struct ends *e)
{
	for (unsigned i = 0; i < 4 && !SSL_is_init_finished(e->client); i++) {
		SSL_do_handshake(e->client);
		if (SSL_is_init_finished(e->client))
			break;
		deliver(e, SAID_MAX);
		tls_socket_shake(e->stream.tls);
	}
	assert_true(SSL_is_init_finished(e->client));
	ERR_clear_error();
}

static void say(struct ends *e, const char *text)
{
	int n = (int)strlen(text);

	assert_int_equal(SSL_write(e->client, text, n), n);
}

static void hear(struct ends *e, const char *text)
{
	char got[100];
	size_t n = strlen(text);

	assert_int_equal(io_stream_read(&e->stream, got, sizeof(got)), n);
	assert_memory_equal(got, text, n);
}

static void expect_nothing(struct ends *e)
{
	char got[1];

	assert_int_equal(io_stream_read(&e->stream, got, 1), -EAGAIN);
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

/* One read has the end of the handshake and three records: a short answer means that no more is
 * hidden. */
static void together(void **state)
{
	const uint8_t *ahead;
	struct ends e;

	(void)state;
	for (unsigned v = 0; v < 2; v++) {
		ends_open(&e, versions[v]);
		shake_hands(&e);
		say(&e, "one ");
		say(&e, "two ");
		say(&e, "three");
		deliver(&e, SAID_MAX);
		if (!SSL_is_init_finished(e.stream.tls))
			assert_int_equal(tls_socket_shake(e.stream.tls), 1);
		hear(&e, "one two three");
		assert_int_equal(tls_ahead(e.stream.tls, &ahead), 0);
		expect_nothing(&e);
		ends_close(&e);
	}
}

/* A whole record that finds no room is known to be there. */
static void no_room(void **state)
{
	char got[4];
	struct ends e;

	(void)state;
	ends_open(&e, TLS1_3_VERSION);
	shake_hands(&e);
	say(&e, "one ");
	say(&e, "two ");
	deliver(&e, SAID_MAX);
	assert_int_equal(tls_socket_shake(e.stream.tls), 1);
	assert_int_equal(io_stream_read(&e.stream, got, sizeof(got)), 4);
	assert_true(tls_record_is_ahead(e.stream.tls));
	hear(&e, "two ");
	assert_false(tls_record_is_ahead(e.stream.tls));
	ends_close(&e);
}

/* Wherever the wire cuts it: what came before the cut is heard, and the rest is with who takes the
 * keys over. */
static void taken_over(void **state)
{
	static const size_t record = 5 + 5 + 1 + 16;
	uint8_t all[200], text[200];
	const uint8_t *ahead = NULL;
	struct tls_records *records;
	struct ends e;

	(void)state;
	for (size_t late = 0; late <= record; late++) {
		size_t finished, n, len;

		ends_open(&e, TLS1_3_VERSION);
		shake_hands(&e);
		finished = BIO_ctrl_pending(e.said);
		say(&e, "first");
		say(&e, "other");
		deliver(&e, finished + 2 * record - late);
		assert_int_equal(tls_socket_shake(e.stream.tls), 1);
		hear(&e, late ? "first" : "firstother");
		n = tls_ahead(e.stream.tls, &ahead);
		assert_int_equal(n, late ? record - late : 0);
		if (n)
			memcpy(all, ahead, n);
		records = tls_records_take(e.stream.tls);
		assert_non_null(records);
		if (late)
			assert_int_equal(BIO_read(e.said, all + n, (int)late), late);
		n += late;
		len = n;
		assert_int_equal(tls_records_open(records, all, &len, text), late ? 5 : 0);
		assert_int_equal(len, n);
		if (late)
			assert_memory_equal(text, "other", 5);
		tls_records_free(records);
		ends_close(&e);
	}
}

/* More than is read ahead, in all sizes of pieces. */
static void much(void **state)
{
	static uint8_t text[200000], got[sizeof(text)];
	struct ends e;

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i * i >> 7);
	for (unsigned v = 0; v < 2; v++) {
		size_t at = 0, piece = 1;

		ends_open(&e, versions[v]);
		shake_hands(&e);
		deliver(&e, SAID_MAX);
		tls_socket_shake(e.stream.tls);
		BIO_set_mem_eof_return(e.said, -1);
		assert_int_equal(SSL_write(e.client, text, sizeof(text)), sizeof(text));
		while (deliver(&e, piece)) {
			ssize_t n;

			piece = piece * 3 / 2 + 1;
			if (piece > 60000)
				piece = 7;
			while ((n = io_stream_read(&e.stream, got + at, sizeof(got) - at)) > 0)
				at += (size_t)n;
			assert_true(n == -EAGAIN || at == sizeof(got));
		}
		assert_int_equal(at, sizeof(text));
		assert_memory_equal(got, text, sizeof(text));
		ends_close(&e);
	}
}

static void the_end(void **state)
{
	char got[10];
	struct ends e;

	(void)state;
	for (unsigned gently = 0; gently < 2; gently++) {
		ends_open(&e, TLS1_3_VERSION);
		shake_hands(&e);
		say(&e, "last");
		if (gently)
			SSL_shutdown(e.client);
		deliver(&e, SAID_MAX);
		shutdown(e.wire, SHUT_WR);
		assert_int_equal(tls_socket_shake(e.stream.tls), 1);
		hear(&e, "last");
		if (gently)
			assert_int_equal(io_stream_read(&e.stream, got, sizeof(got)), 0);
		else
			assert_true(io_stream_read(&e.stream, got, sizeof(got)) < 0);
		ends_close(&e);
	}
}

/* What another library left in this thread's queue is no verdict on a connection. */
static void errors_of_others(void **state)
{
	static uint8_t much[1 << 20];
	struct iovec iov = {.iov_base = much, .iov_len = 6};
	struct ends e;

	(void)state;
	ends_open(&e, TLS1_3_VERSION);
	shake_hands(&e);
	deliver(&e, SAID_MAX);
	assert_int_equal(tls_socket_shake(e.stream.tls), 1);
	ERR_raise(ERR_LIB_USER, ERR_R_INTERNAL_ERROR);
	expect_nothing(&e);
	ERR_raise(ERR_LIB_USER, ERR_R_INTERNAL_ERROR);
	assert_int_equal(io_stream_writev(&e.stream, &iov, 1), 6);
	iov.iov_len = sizeof(much);
	while (io_stream_writev(&e.stream, &iov, 1) > 0)
		;
	ERR_raise(ERR_LIB_USER, ERR_R_INTERNAL_ERROR);
	assert_int_equal(io_stream_writev(&e.stream, &iov, 1), -EAGAIN);
	ends_close(&e);
}

/* A step of the handshake does not ask the socket again when it was empty. */
static unsigned receives;

ssize_t __real_recv(int fd, void *to, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *to, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *to, size_t len, int flags)
{
	receives++;
	return __real_recv(fd, to, len, flags);
}

static void few_reads(void **state)
{
	struct ends e;

	(void)state;
	ends_open(&e, TLS1_3_VERSION);
	receives = 0;
	shake_hands(&e);
	assert_int_equal(receives, 1);
	say(&e, "request");
	deliver(&e, SAID_MAX);
	assert_int_equal(tls_socket_shake(e.stream.tls), 1);
	hear(&e, "request");
	assert_int_equal(receives, 2);
	ends_close(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(together),
		cmocka_unit_test(no_room),
		cmocka_unit_test(taken_over),
		cmocka_unit_test(much),
		cmocka_unit_test(the_end),
		cmocka_unit_test(few_reads),
		cmocka_unit_test(errors_of_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
