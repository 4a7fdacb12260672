/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests against a server on the same loop that misbehaves as its path says. */
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/pem.h>
#include <tailplane/loop.h>

#include "fetch.h"
#include "job_pool.h"
#include "self_signed.h"

#define MAX 100 /* bytes of an answer */
#define LONG_MS 20000
#define BYTES_10 "0123456789"
#define BYTES_100 \
	BYTES_10 BYTES_10 BYTES_10 BYTES_10 BYTES_10 BYTES_10 BYTES_10 BYTES_10 BYTES_10 BYTES_10

/* ---- the server ---------------------------------------------------------------------------- */

struct visit {
	ev_io io;
	struct visit *next;
	SSL *tls;
	char text[2048];
	size_t len;
};

static struct server {
	ev_io io;
	struct visit *visits;
	unsigned connections, requests;
	uint16_t port;
	SSL_CTX *tls; /* NULL: plain */
} server;

static const struct page {
	const char *path, *answer;
	bool close;
} pages[] = {
	{"/hello", "HTTP/1.1 200 OK\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
		   "Content-Length: 5\r\n\r\nhello"},
	{"/empty", "HTTP/1.1 204 No Content\r\n\r\n"},
	{"/missing", "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"},
	{"/fits", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" BYTES_100},
	{"/long", "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" BYTES_100 "x"},
	{"/endless", "HTTP/1.1 200 OK\r\n\r\n" BYTES_100 "x", true},
	{"/slow", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" BYTES_10},
	{"/cut", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" BYTES_10, true},
	{"/moved", "HTTP/1.1 302 Found\r\nLocation: /hello\r\nContent-Length: 0\r\n\r\n"},
	{"/circle", "HTTP/1.1 302 Found\r\nLocation: /circle\r\nContent-Length: 0\r\n\r\n"},
	{"/file", "HTTP/1.1 302 Found\r\nLocation: file:///etc/hostname\r\n"
		  "Content-Length: 0\r\n\r\n"},
};

static void visit_end(struct visit *visit)
{
	struct visit **at = &server.visits;

	while (*at != visit)
		at = &(*at)->next;
	*at = visit->next;
	ev_io_stop(core_loop(), &visit->io);
	SSL_free(visit->tls);
	close(visit->io.fd);
	free(visit);
}

static void say(struct visit *visit, const char *text)
{
	int n = (int)strlen(text);

	if (visit->tls)
		assert_int_equal(SSL_write(visit->tls, text, n), n);
	else
		assert_int_equal(write(visit->io.fd, text, (size_t)n), n);
}

static void serve(struct visit *visit)
{
	char path[64];

	server.requests++;
	assert_int_equal(sscanf(visit->text, "%*s %63s", path), 1);
	for (size_t i = 0; i < sizeof(pages) / sizeof(*pages); i++) {
		if (strcmp(pages[i].path, path) != 0)
			continue;
		say(visit, pages[i].answer);
		visit->len = 0;
		if (pages[i].close)
			visit_end(visit);
		return;
	}
	fail_msg("nothing is at %s", path);
}

static bool is_whole(const struct visit *visit)
{
	const char *end = strstr(visit->text, "\r\n\r\n");
	const char *length = strstr(visit->text, "Content-Length: ");

	return end && strlen(end + 4) >= (length ? strtoul(length + 16, NULL, 10) : 0);
}

static void on_visit(struct ev_loop *loop, ev_io *watcher, int revents)
{
	struct visit *visit = (struct visit *)watcher;
	char *at = visit->text + visit->len;
	size_t room = sizeof(visit->text) - 1 - visit->len;
	ssize_t n;

	(void)loop, (void)revents;
	n = visit->tls ? SSL_read(visit->tls, at, (int)room) : read(watcher->fd, at, room);
	if (visit->tls && n <= 0 && SSL_get_error(visit->tls, (int)n) == SSL_ERROR_WANT_READ)
		return;
	if (n <= 0) {
		visit_end(visit);
		return;
	}
	visit->len += (size_t)n;
	visit->text[visit->len] = 0;
	if (is_whole(visit))
		serve(visit);
}

static void on_connection(struct ev_loop *loop, ev_io *watcher, int revents)
{
	struct visit *visit = calloc(1, sizeof(*visit));
	int fd = accept4(watcher->fd, NULL, NULL, SOCK_NONBLOCK);

	(void)revents;
	assert_true(fd >= 0);
	server.connections++;
	visit->next = server.visits;
	server.visits = visit;
	if (server.tls) {
		visit->tls = SSL_new(server.tls);
		SSL_set_fd(visit->tls, fd);
		SSL_set_accept_state(visit->tls);
	}
	ev_io_init(&visit->io, on_visit, fd, EV_READ);
	ev_io_start(loop, &visit->io);
}

static int server_open(void **state)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	(void)state;
	memset(&server, 0, sizeof(server));
	assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	server.port = ntohs(at.sin_port);
	ev_io_init(&server.io, on_connection, fd, EV_READ);
	ev_io_start(core_loop(), &server.io);
	return 0;
}

static int server_close(void **state)
{
	(void)state;
	while (server.visits)
		visit_end(server.visits);
	ev_io_stop(core_loop(), &server.io);
	close(server.io.fd);
	SSL_CTX_free(server.tls);
	return 0;
}

/* ---- asking -------------------------------------------------------------------------------- */

struct asked {
	struct fetcher *fetcher;
	struct fetch *cancels; /* when it is done */
	bool frees;
	unsigned done;
	struct fetch_answer answer;
	char body[MAX + 1], problem[256];
};

static void note(void *arg, const struct fetch_answer *answer)
{
	struct asked *asked = arg;

	asked->done++;
	asked->answer = *answer;
	if (answer->body) {
		assert_int_equal(strlen(answer->body), answer->len);
		snprintf(asked->body, sizeof(asked->body), "%s", answer->body);
	}
	snprintf(asked->problem, sizeof(asked->problem), "%s",
		answer->problem ? answer->problem : "");
	if (asked->cancels)
		fetch_cancel(asked->cancels);
	if (asked->frees)
		fetcher_free(asked->fetcher);
}

static struct fetch *start(struct asked *asked, struct fetcher *fetcher,
	struct fetch_request request, const char *path)
{
	char url[128];

	snprintf(url, sizeof(url), "%s://127.0.0.1:%u%s", server.tls ? "https" : "http",
		server.port, path);
	if (!request.url)
		request.url = url;
	request.max = MAX;
	if (!request.timeout_ms)
		request.timeout_ms = LONG_MS;
	asked->fetcher = fetcher;
	return fetch_start(fetcher, &request, note, asked);
}

static void time_is_over(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop, (void)timer, (void)revents; /* what happens once is not active any more */
}

static bool turn_until(const unsigned *counter, unsigned wanted)
{
	ev_timer patience;

	ev_timer_init(&patience, time_is_over, LONG_MS * 1e-3, 0.);
	ev_now_update(core_loop());
	ev_timer_start(core_loop(), &patience);
	while (*counter < wanted && ev_is_active(&patience))
		ev_run(core_loop(), EVRUN_ONCE);
	ev_timer_stop(core_loop(), &patience);
	return *counter == wanted;
}

static struct asked ask(struct fetch_request request, const char *path)
{
	struct fetcher *fetcher = fetcher_new();
	struct asked asked = {0};

	assert_non_null(start(&asked, fetcher, request, path));
	assert_int_equal(asked.done, 0);
	assert_true(turn_until(&asked.done, 1));
	fetcher_free(fetcher);
	return asked;
}

static void assert_problem(struct asked asked, const char *part)
{
	assert_null(asked.answer.body);
	if (!strstr(asked.problem, part))
		fail_msg("not \"%s\": \"%s\"", part, asked.problem);
}

static void assert_body(struct asked asked, const char *body)
{
	assert_string_equal(asked.problem, "");
	assert_string_equal(asked.body, body);
}

/* ---- what is answered ---------------------------------------------------------------------- */

static void test_answer(void **state)
{
	struct asked asked = ask((struct fetch_request){0}, "/hello");

	(void)state;
	assert_body(asked, "hello");
	assert_int_equal(asked.answer.len, 5);
	assert_int_equal(asked.answer.status, 200);
	assert_int_equal(asked.answer.date, 1700000000);
	assert_int_equal(asked.answer.expires, 0);
	assert_string_equal(asked.answer.address, "127.0.0.1");
	asked = ask((struct fetch_request){0}, "/empty");
	assert_body(asked, "");
	assert_int_equal(asked.answer.status, 204);
	assert_int_equal(asked.answer.date, 0);
}

static void test_post(void **state)
{
	struct fetcher *fetcher = fetcher_new();
	struct asked asked = {0};
	char json[] = "{\"a\":1}";
	const struct fetch_request request = {.json = json, .keep = true};

	(void)state;
	start(&asked, fetcher, request, "/slow");
	memset(json, 'x', sizeof(json) - 1); /* it was copied */
	assert_true(turn_until(&server.requests, 1));
	assert_memory_equal(server.visits->text, "POST /slow ", 11);
	assert_non_null(strstr(server.visits->text, "\r\nUser-Agent: tailplane\r\n"));
	assert_non_null(strstr(server.visits->text, "\r\nContent-Type: application/json\r\n"));
	assert_non_null(strstr(server.visits->text, "\r\n\r\n{\"a\":1}"));
	fetcher_free(fetcher);
	assert_int_equal(asked.done, 0);
}

static void test_status(void **state)
{
	struct asked asked = ask((struct fetch_request){0}, "/missing");

	(void)state;
	assert_problem(asked, "404");
	assert_int_equal(asked.answer.status, 404);
	assert_false(asked.answer.distrusted);
	asked = ask((struct fetch_request){.any_status = true}, "/missing");
	assert_body(asked, "no");
	assert_int_equal(asked.answer.status, 404);
}

static void test_redirects(void **state)
{
	struct asked asked = ask((struct fetch_request){.follow = true}, "/moved");

	(void)state;
	assert_body(asked, "hello");
	asked = ask((struct fetch_request){0}, "/moved");
	assert_body(asked, "");
	assert_int_equal(asked.answer.status, 302);
	server.requests = 0;
	assert_problem(ask((struct fetch_request){.follow = true}, "/circle"), "redirects");
	assert_int_equal(server.requests, 6);
	assert_problem(ask((struct fetch_request){.follow = true}, "/file"), "rotocol");
}

/* ---- what goes wrong ----------------------------------------------------------------------- */

static void test_refused(void **state)
{
	(void)state;
	ev_io_stop(core_loop(), &server.io);
	close(server.io.fd);
	server.io.fd = -1;
	assert_problem(ask((struct fetch_request){0}, "/hello"), "connect");
}

static void test_scheme(void **state)
{
	(void)state;
	assert_problem(ask((struct fetch_request){.url = "file:///etc/hostname"}, ""), "rotocol");
	assert_problem(ask((struct fetch_request){.url = "ftp://127.0.0.1/x"}, ""), "rotocol");
}

static void test_too_long(void **state)
{
	(void)state;
	assert_body(ask((struct fetch_request){0}, "/fits"), BYTES_100);
	assert_problem(ask((struct fetch_request){0}, "/long"), "the answer is too long");
	assert_problem(ask((struct fetch_request){0}, "/endless"), "the answer is too long");
}

static void test_slow(void **state)
{
	(void)state;
	/* "Operation timed out after", or on a busy machine before it connected: "with timeout
	 * after" */
	assert_problem(ask((struct fetch_request){.timeout_ms = 50}, "/slow"), "out after ");
}

static void test_cut_off(void **state)
{
	(void)state;
	assert_problem(ask((struct fetch_request){0}, "/cut"), "remaining to read");
}

/* ---- connections --------------------------------------------------------------------------- */

static unsigned connections_of_two(bool keep)
{
	struct fetcher *fetcher = fetcher_new();
	struct asked asked = {0};

	server.connections = 0;
	for (unsigned i = 1; i <= 2; i++) {
		start(&asked, fetcher, (struct fetch_request){.keep = keep}, "/hello");
		assert_true(turn_until(&asked.done, i));
		assert_body(asked, "hello");
	}
	fetcher_free(fetcher);
	return server.connections;
}

static void test_kept(void **state)
{
	(void)state;
	assert_int_equal(connections_of_two(true), 1);
	assert_int_equal(connections_of_two(false), 2);
}

static void test_connect_to(void **state)
{
	struct fetch_request request = {.connect_to = "127.0.0.1"};
	char url[64];

	(void)state;
	snprintf(url, sizeof(url), "http://no.such.invalid:%u/hello", server.port);
	request.url = url;
	assert_body(ask(request, ""), "hello");
	request.connect_to = "::1"; /* the server is not there */
	assert_problem(ask(request, ""), "connect");
}

static void test_proxy(void **state)
{
	(void)state;
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	assert_problem(ask((struct fetch_request){0}, "/hello"), "connect");
	assert_body(ask((struct fetch_request){.no_proxy = true}, "/hello"), "hello");
	unsetenv("http_proxy");
}

/* ---- ends ---------------------------------------------------------------------------------- */

static void test_cancel(void **state)
{
	struct fetcher *fetcher = fetcher_new();
	struct asked gone = {0}, other = {0};
	struct fetch *fetch = start(&gone, fetcher, (struct fetch_request){0}, "/hello");

	(void)state;
	fetch_cancel(fetch); /* before its first turn */
	fetch = start(&gone, fetcher, (struct fetch_request){0}, "/slow");
	assert_true(turn_until(&server.requests, 1)); /* in its middle */
	fetch_cancel(fetch);
	other.cancels = start(&gone, fetcher, (struct fetch_request){0}, "/slow");
	assert_true(turn_until(&server.requests, 2)); /* by another's end */
	start(&other, fetcher, (struct fetch_request){0}, "/hello");
	assert_true(turn_until(&other.done, 1));
	fetcher_free(fetcher);
	assert_int_equal(gone.done, 0);
}

static void test_fetcher_freed_by_an_answer(void **state)
{
	struct asked first = {.frees = true}, other = {0};
	struct fetcher *fetcher = fetcher_new();

	(void)state;
	start(&other, fetcher, (struct fetch_request){0}, "/slow");
	start(&first, fetcher, (struct fetch_request){0}, "/hello");
	assert_true(turn_until(&first.done, 1));
	assert_body(first, "hello");
	assert_int_equal(other.done, 0);
}

/* ---- TLS ----------------------------------------------------------------------------------- */

static int server_open_tls(void **state)
{
	server_open(state);
	server.tls = SSL_CTX_new(TLS_server_method());
	self_sign(server.tls);
	return 0;
}

static void test_distrusted(void **state)
{
	struct asked asked = ask((struct fetch_request){.any_status = true}, "/hello");

	(void)state;
	assert_problem(asked, "certificate");
	assert_true(asked.answer.distrusted);
	asked = ask((struct fetch_request){.untrusted = true, .expiry = true}, "/hello");
	assert_body(asked, "hello");
	assert_in_range(asked.answer.expires, time(NULL) + 3000, time(NULL) + 3600);
}

static void test_authorities(void **state)
{
	char path[] = "/tmp/tailplane-fetch-XXXXXX", url[64];
	FILE *out = fdopen(mkstemp(path), "w");
	struct asked asked;

	(void)state;
	assert_int_equal(PEM_write_X509(out, SSL_CTX_get0_certificate(server.tls)), 1);
	fclose(out);
	setenv("SSL_CERT_FILE", path, 1);
	assert_body(ask((struct fetch_request){0}, "/hello"), "hello");
	snprintf(url, sizeof(url), "https://no.such.invalid:%u/hello", server.port);
	asked = ask((struct fetch_request){.url = url, .connect_to = "127.0.0.1"}, "");
	assert_true(asked.answer.distrusted);
	unlink(path);
	assert_problem(ask((struct fetch_request){0}, "/hello"), path);
	unsetenv("SSL_CERT_FILE");
}

static void test_cancelled_before_authorities_are_read(void **state)
{
	struct fetcher *fetcher = fetcher_new();
	struct asked gone = {0}, other = {0};

	(void)state;
	fetch_cancel(start(&gone, fetcher, (struct fetch_request){0}, "/hello"));
	start(&other, fetcher, (struct fetch_request){0}, "/hello");
	assert_true(turn_until(&other.done, 1));
	fetcher_free(fetcher);
	fetcher = fetcher_new();
	start(&gone, fetcher, (struct fetch_request){0}, "/hello");
	fetcher_free(fetcher);
	jobs_drain();
	assert_int_equal(gone.done, 0);
}

#define PLAIN(test) cmocka_unit_test_setup_teardown(test, server_open, server_close)
#define TLS(test) cmocka_unit_test_setup_teardown(test, server_open_tls, server_close)

static int pool_begin(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	jobs_init();
	jobs_start(1);
	return 0;
}

static int pool_end(void **state)
{
	(void)state;
	jobs_stop();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLAIN(test_answer),
		PLAIN(test_post),
		PLAIN(test_status),
		PLAIN(test_redirects),
		PLAIN(test_refused),
		PLAIN(test_scheme),
		PLAIN(test_too_long),
		PLAIN(test_slow),
		PLAIN(test_cut_off),
		PLAIN(test_kept),
		PLAIN(test_connect_to),
		PLAIN(test_proxy),
		PLAIN(test_cancel),
		PLAIN(test_fetcher_freed_by_an_answer),
		TLS(test_distrusted),
		TLS(test_authorities),
		TLS(test_cancelled_before_authorities_are_read),
	};

	return cmocka_run_group_tests(tests, pool_begin, pool_end);
}
