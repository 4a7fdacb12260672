/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The listener for /metrics. Runs on: the control loop. Bytes of strangers go to http-parser; here
 * are only the bounds: connections, bytes of a request's head, time. A body is never read.
 */
#include "http.h"

#include <errno.h>
#include <http_parser.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tailplane/log.h>
#include <tailplane/loop.h>

#include "metrics_text.h"

#define CONNS_MAX 16
#define HEAD_MAX 8192
#define URL_MAX 256
#define IDLE_SECONDS 15. /* for a request to arrive, for an answer to be taken */

struct conn {
	struct conn *next, **prev;
	ev_io readable, writable;
	ev_timer idle;
	http_parser parser;
	size_t head_bytes;
	char url[URL_MAX];
	size_t url_len;
	bool complete, close_after, too_long;
	char *out;
	size_t out_len, out_sent;
};

static struct {
	ev_io acceptable;
	int fd; /* -1: off */
	char *address;
	int next_fd;
	char *next_address; /* NULL: nothing prepared */
	struct conn *conns;
	unsigned n_conns;
} http = {.fd = -1, .next_fd = -1};

static void conn_close(struct conn *conn)
{
	ev_io_stop(core_loop(), &conn->readable);
	ev_io_stop(core_loop(), &conn->writable);
	ev_timer_stop(core_loop(), &conn->idle);
	close(conn->readable.fd);
	*conn->prev = conn->next;
	if (conn->next)
		conn->next->prev = conn->prev;
	http.n_conns--;
	free(conn->out);
	free(conn);
}

/* ---- answers ---- */

/* Takes `body` (heap). */
static void answer(struct conn *conn, unsigned status, const char *type, char *body, size_t len)
{
	bool head_only = conn->parser.method == HTTP_HEAD;
	char head[256];
	int n = snprintf(head, sizeof(head),
		"HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
		"Connection: %s\r\n%s\r\n",
		status, http_status_str(status), type, len,
		conn->close_after ? "close" : "keep-alive",
		status == 405 ? "Allow: GET, HEAD\r\n" : "");

	conn->out = malloc((size_t)n + len);
	if (conn->out && body) {
		memcpy(conn->out, head, (size_t)n);
		memcpy(conn->out + n, body, len);
		conn->out_len = (size_t)n + (head_only ? 0 : len);
	} else {
		conn->close_after = true;
		conn->out_len = 0;
	}
	conn->out_sent = 0;
	free(body);
}

static void answer_text(struct conn *conn, unsigned status, const char *text)
{
	char *body;
	int len = asprintf(&body, "%s\n", text);

	answer(conn, status, "text/plain; charset=utf-8", len < 0 ? NULL : body,
		len < 0 ? 0 : (size_t)len);
}

static bool is_path(const struct conn *conn, const char *path)
{
	size_t len = strcspn(conn->url, "?#");

	return len == strlen(path) && memcmp(conn->url, path, len) == 0;
}

static void route(struct conn *conn)
{
	size_t len;
	char *text;

	conn->url[conn->url_len] = '\0';
	if (conn->parser.http_major != 1) {
		conn->close_after = true;
		answer_text(conn, 505, "versions 1.0 and 1.1 only");
	} else if (conn->parser.method != HTTP_GET && conn->parser.method != HTTP_HEAD) {
		answer_text(conn, 405, "GET and HEAD only");
	} else if (is_path(conn, "/metrics")) {
		text = metrics_scrape(&len);
		answer(conn, 200, "text/plain; version=0.0.4; charset=utf-8", text, text ? len : 0);
	} else if (is_path(conn, "/")) {
		answer_text(conn, 200, "Tailplane. Metrics are at /metrics");
	} else {
		answer_text(conn, 404, "nothing here; metrics are at /metrics");
	}
}

/* ---- requests ---- */

static int on_url(http_parser *parser, const char *at, size_t len)
{
	struct conn *conn = parser->data;

	if (len >= URL_MAX - conn->url_len) {
		conn->too_long = true;
		return 1;
	}
	memcpy(conn->url + conn->url_len, at, len);
	conn->url_len += len;
	return 0;
}

/* A request with a body ends the connection: what follows is not looked at. */
static int on_headers_complete(http_parser *parser)
{
	struct conn *conn = parser->data;
	bool body = (parser->flags & F_CHUNKED) ||
		    (parser->content_length && parser->content_length != UINT64_MAX);

	conn->complete = true;
	conn->close_after = body || parser->upgrade || !http_should_keep_alive(parser);
	http_parser_pause(parser, 1);
	return 0;
}

static const http_parser_settings parser_settings = {
	.on_url = on_url,
	.on_headers_complete = on_headers_complete,
};

static void await_request(struct conn *conn)
{
	http_parser_init(&conn->parser, HTTP_REQUEST);
	conn->parser.data = conn;
	conn->head_bytes = conn->url_len = 0;
	conn->complete = false;
	free(conn->out);
	conn->out = NULL;
}

static void start_answer(struct conn *conn)
{
	ev_io_stop(core_loop(), &conn->readable);
	ev_io_start(core_loop(), &conn->writable);
	ev_timer_again(core_loop(), &conn->idle);
}

static void refuse(struct conn *conn, unsigned status, const char *text)
{
	conn->close_after = true;
	conn->parser.method = HTTP_GET;
	answer_text(conn, status, text);
	start_answer(conn);
}

static void take_bytes(struct conn *conn, const char *bytes, size_t n)
{
	conn->head_bytes += n;
	http_parser_execute(&conn->parser, &parser_settings, bytes, n);
	if (conn->complete) {
		route(conn);
		start_answer(conn);
	} else if (conn->too_long) {
		refuse(conn, 414, "this address is too long");
	} else if (HTTP_PARSER_ERRNO(&conn->parser) != HPE_OK) {
		refuse(conn, 400, http_errno_description(HTTP_PARSER_ERRNO(&conn->parser)));
	} else if (conn->head_bytes >= HEAD_MAX) {
		refuse(conn, 431, "the request's head is too long");
	}
}

/* Requests sent ahead are not served: what came in the same read as a head's end is dropped. */
LOOP_CALLBACK(http_read, ev_io)
{
	struct conn *conn = watcher->data;
	char bytes[2048];
	ssize_t n = read(watcher->fd, bytes, sizeof(bytes));

	(void)loop, (void)revents;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_close(conn);
		return;
	}
	take_bytes(conn, bytes, (size_t)n);
}

LOOP_CALLBACK(http_write, ev_io)
{
	struct conn *conn = watcher->data;
	ssize_t n = 0;

	(void)revents;
	if (conn->out_sent < conn->out_len)
		n = write(watcher->fd, conn->out + conn->out_sent, conn->out_len - conn->out_sent);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		conn_close(conn);
		return;
	}
	conn->out_sent += (size_t)n;
	ev_timer_again(loop, &conn->idle);
	if (conn->out_sent < conn->out_len)
		return;
	if (conn->close_after) {
		conn_close(conn);
		return;
	}
	await_request(conn);
	ev_io_stop(loop, &conn->writable);
	ev_io_start(loop, &conn->readable);
}

LOOP_CALLBACK(http_idle, ev_timer)
{
	(void)loop, (void)revents;
	conn_close(watcher->data);
}

/* ---- connections ---- */

static void conn_open(int fd)
{
	struct conn *conn = calloc(1, sizeof(*conn));

	if (!conn) {
		close(fd);
		return;
	}
	ev_io_init(&conn->readable, http_read, fd, EV_READ);
	ev_io_init(&conn->writable, http_write, fd, EV_WRITE);
	ev_init(&conn->idle, http_idle);
	conn->idle.repeat = IDLE_SECONDS;
	conn->readable.data = conn->writable.data = conn->idle.data = conn;
	await_request(conn);
	conn->next = http.conns;
	conn->prev = &http.conns;
	if (conn->next)
		conn->next->prev = &conn->next;
	http.conns = conn;
	http.n_conns++;
	ev_io_start(core_loop(), &conn->readable);
	ev_timer_again(core_loop(), &conn->idle);
}

LOOP_CALLBACK(http_accept, ev_io)
{
	int fd = accept4(watcher->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)loop, (void)revents;
	if (fd < 0)
		return;
	if (http.n_conns < CONNS_MAX) {
		conn_open(fd);
		return;
	}
	log_debug("http: %d connections already, one more was closed", CONNS_MAX);
	close(fd);
}

/* ---- the listener ---- */

static int listen_at(const char *address, struct err *err)
{
	struct sockaddr_storage ss;
	struct net_endpoint ep;
	socklen_t len;
	int fd, on = 1;

	if (net_endpoint_parse(&ep, address) != 0)
		return err_set(
			err, -EINVAL, "core.metrics.listen: \"%s\" is not ADDRESS:PORT", address);
	len = net_endpoint_to_sockaddr(&ep, &ss);
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd >= 0 && bind(fd, (struct sockaddr *)&ss, len) == 0 && listen(fd, CONNS_MAX) == 0)
		return fd;
	err_set(err, -errno,
		"cannot listen on %s for metrics: %s; choose another address with "
		"core.metrics.listen, or \"\" for none",
		address, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -EIO;
}

int http_prepare(const char *address, struct err *err)
{
	if (http.address && strcmp(address, http.address) == 0)
		return 0;
	if (*address) {
		http.next_fd = listen_at(address, err);
		if (http.next_fd < 0)
			return http.next_fd;
	}
	http.next_address = strdup(address);
	return 0;
}

static void listener_close(void)
{
	if (http.fd < 0)
		return;
	ev_io_stop(core_loop(), &http.acceptable);
	close(http.fd);
	http.fd = -1;
}

void http_commit(void)
{
	if (!http.next_address)
		return;
	listener_close();
	free(http.address);
	http.address = http.next_address;
	http.fd = http.next_fd;
	http.next_address = NULL;
	http.next_fd = -1;
	if (http.fd < 0)
		return;
	ev_io_init(&http.acceptable, http_accept, http.fd, EV_READ);
	ev_io_start(core_loop(), &http.acceptable);
	log_info("metrics at http://%s/metrics", http.address);
}

void http_abandon(void)
{
	if (http.next_fd >= 0)
		close(http.next_fd);
	http.next_fd = -1;
	free(http.next_address);
	http.next_address = NULL;
}

void http_collect(struct metric_sink *sink)
{
	static const struct metric open = {"tailplane_http_connections", METRIC_GAUGE,
		"Connections to the listener for metrics."};

	metric_add(sink, &open, NULL, 0, http.n_conns);
}

void http_stop(void)
{
	http_abandon();
	while (http.conns)
		conn_close(http.conns);
	listener_close();
	free(http.address);
	http.address = NULL;
}
