/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A request between its connection and its handler. Runs on: the connection's I/O loop; what a
 * handler calls, on the handler's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "front_private.h"

/* ---- answers ---- */

static const char *date(void)
{
	static _Thread_local char text[40];
	static _Thread_local time_t of;
	time_t now = time(NULL);
	struct tm tm;

	if (now != of) {
		gmtime_r(&now, &tm);
		strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
		of = now;
	}
	return text;
}

static const char page_fields[] = "X-Frame-Options: DENY\r\n"
				  "Content-Security-Policy: frame-ancestors 'none'\r\n"
				  "X-Content-Type-Options: nosniff\r\n"
				  "Referrer-Policy: no-referrer\r\n";

static void print_head(
	FILE *out, const struct front_request *request, int status, const char *type, size_t len)
{
	fprintf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\n", status, http_status_str(status), date());
	if (type)
		fprintf(out, "Content-Type: %s\r\n", type);
	if (type && strncmp(type, "text/html", 9) == 0)
		fputs(page_fields, out);
	if (status >= 200 && status != 204 && status != 304)
		fprintf(out, "Content-Length: %zu\r\n", len);
	fprintf(out, "Connection: %s\r\n", request->close_after ? "close" : "keep-alive");
	if (request->fields_len)
		fwrite(request->fields, 1, request->fields_len, out);
	fputs("\r\n", out);
}

/* NULL: no memory. */
static uint8_t *make_answer(const struct front_request *request, int status, const char *type,
	const void *body, size_t len, size_t *out_len)
{
	bool head_only = request->head && request->head->parser.method == HTTP_HEAD;
	char *bytes = NULL;
	FILE *out = open_memstream(&bytes, out_len);

	if (!out)
		return NULL;
	print_head(out, request, status, type, len);
	if (len && !head_only)
		fwrite(body, 1, len, out);
	if (fclose(out) == 0)
		return (uint8_t *)bytes;
	free(bytes);
	return NULL;
}

void front_request_free(struct front_request *request)
{
	if (request->conn)
		request->conn->request = NULL;
	head_free(request->head);
	free(request->fields);
	free(request->out);
	free(request);
}

static void deliver(struct front_request *request)
{
	struct front_conn *conn = request->conn;
	bool close_after = request->close_after;
	size_t len = request->out_len;
	uint8_t *out = NULL;

	if (conn) {
		out = request->out;
		request->out = NULL;
	}
	front_request_free(request);
	if (conn)
		front_conn_answer(conn, out, len, close_after);
}

static void deliver_message(struct io_message *message)
{
	deliver((struct front_request *)message);
}

void front_reply(
	struct front_request *request, int status, const char *type, const void *body, size_t len)
{
	request->out = make_answer(request, status, type, body, len, &request->out_len);
	if (io_loop_here() == request->loop) {
		deliver(request);
		return;
	}
	request->message.run = deliver_message;
	io_post(request->loop, &request->message);
}

void front_reply_text(struct front_request *request, int status, const char *text)
{
	char *line;
	int len = asprintf(&line, "%s\n", text);

	if (len < 0)
		front_reply(request, status, NULL, NULL, 0);
	else
		front_reply(request, status, "text/plain; charset=utf-8", line, (size_t)len);
	if (len >= 0)
		free(line);
}

static bool is_clean(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	}
	return true;
}

void front_header(struct front_request *request, const char *name, const char *value)
{
	char *grown;
	int n;

	if (!is_clean(name) || !is_clean(value))
		return;
	n = snprintf(NULL, 0, "%s: %s\r\n", name, value);
	grown = realloc(request->fields, request->fields_len + (size_t)n + 1);
	if (!grown)
		return;
	request->fields = grown;
	snprintf(grown + request->fields_len, (size_t)n + 1, "%s: %s\r\n", name, value);
	request->fields_len += (size_t)n;
}

void front_refuse(struct front_conn *conn, int status, const char *why)
{
	struct front_request request = {.close_after = true};
	char body[160];
	size_t len;
	uint8_t *out;

	snprintf(body, sizeof(body), "%s\n", why);
	out = make_answer(&request, status, "text/plain; charset=utf-8", body, strlen(body), &len);
	front_conn_answer(conn, out, len, true);
}

/* ---- who serves ---- */

static const char *upgrade_of(const struct front_head *head)
{
	const char *upgrade = head_field(head, "Upgrade");

	return upgrade ? upgrade : "";
}

static struct front_found find(const struct front_conn *conn, const struct front_head *head)
{
	return front_routes_find(conn->loop->routes, conn->site, head_method(head), head_path(head),
		upgrade_of(head));
}

/* A request without body that nobody serves is refused when it is whole: what follows it on the
 * connection is served. */
ssize_t front_request_body_max(struct front_conn *conn)
{
	struct front_found found = find(conn, conn->head);

	if (found.route)
		return found.route->body_max;
	if (!head_body_announced(conn->head))
		return 0;
	front_refuse(conn, found.status, found.why);
	return -1;
}

static void address_of_client(struct front_request *request)
{
	const struct head_proxies *proxies = &request->conn->loop->proxies;
	const char *proto;

	if (!head_is_trusted(proxies, &request->from.addr))
		return;
	proto = head_field(request->head, "X-Forwarded-Proto");
	if (proto)
		request->secure = strcasecmp(proto, "https") == 0;
	if (head_client_address(request->head, proxies, &request->from.addr))
		request->from.port = 0;
}

static struct front_request *request_new(struct front_conn *conn)
{
	struct front_request *request = calloc(1, sizeof(*request));

	if (!request)
		return NULL;
	request->conn = conn;
	request->loop = conn->loop->io;
	request->head = conn->head;
	request->from = conn->stream.from;
	request->secure = conn->tls;
	request->close_after = conn->close_after || conn->head->parser.upgrade ||
			       !http_should_keep_alive(&conn->head->parser);
	conn->head = NULL;
	conn->request = request;
	address_of_client(request);
	return request;
}

static void serve_message(struct io_message *message)
{
	struct front_request *request = (struct front_request *)message;

	request->serve(request, request->user);
}

/* A name, an address, an address in brackets; without port. */
static bool host_of(const struct front_head *head, char *host, size_t size)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789.-_";
	const char *field = head_field(head, "Host");
	size_t len;

	if (!field)
		return false;
	len = *field == '[' ? strcspn(field, "]") + 1 : strspn(field, letters);
	if (!len || len >= size || len > strlen(field) || (field[len] && field[len] != ':') ||
		(*field == '[' && strspn(field + 1, "0123456789abcdefABCDEF:.") != len - 2))
		return false;
	memcpy(host, field, len);
	host[len] = '\0';
	return true;
}

/* Beside TLS: pages are elsewhere. */
static void send_to_tls(struct front_request *request, uint16_t port)
{
	const char *query = head_query(request->head), *path = head_path(request->head);
	char host[256], number[8] = "", *location;

	if (*path != '/' || !host_of(request->head, host, sizeof(host))) {
		front_reply_text(request, 400, "this is served over https");
		return;
	}
	if (port != 443)
		snprintf(number, sizeof(number), ":%u", port);
	if (asprintf(&location, "https://%s%s%s%s%s", host, number, path, *query ? "?" : "",
		    query) < 0) {
		front_reply(request, 503, NULL, NULL, 0);
		return;
	}
	front_header(request, "Location", location);
	front_reply_text(request, 308, "this is served over https");
	free(location);
}

/* "GET POST" is "GET, HEAD, POST" in an answer. */
static void reply_not_found(struct front_request *request, const struct front_found *found)
{
	char list[128] = "";
	size_t n = 0;

	for (const char *at = found->value; at && *at; at += strspn(at, " ")) {
		int len = (int)strcspn(at, " ");
		bool get = len == 3 && strncmp(at, "GET", 3) == 0;

		if (n < sizeof(list))
			n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%.*s%s", n ? ", " : "",
				len, at, get ? ", HEAD" : "");
		at += len;
	}
	if (found->field)
		front_header(request, found->field, list);
	if (found->status == 404 && request->conn->loop->leaving) {
		front_header(request, "Retry-After", "1");
		request->close_after = true;
		front_reply_text(request, 503, "this server is about to stop");
		return;
	}
	front_reply_text(request, found->status, found->why);
}

void front_request_serve(struct front_conn *conn)
{
	struct front_request *request = request_new(conn);
	struct front_found found;

	if (!request) {
		front_conn_close(conn);
		return;
	}
	front_count(&front_counts.requests);
	found = find(conn, request->head);
	if (conn->beside_tls && !request->secure &&
		!(found.route && (found.route->flags & FRONT_PLAIN))) {
		send_to_tls(request, conn->loop->tls_port);
	} else if (!found.route) {
		reply_not_found(request, &found);
	} else {
		request->serve = found.route->serve;
		request->user = found.route->user;
		request->message.run = serve_message;
		if (found.route->flags & FRONT_ON_CONTROL)
			io_post(io_loop_control(), &request->message);
		else
			request->serve(request, request->user);
	}
}

/* ---- what a handler asks ---- */

const char *front_method(const struct front_request *request)
{
	return head_method(request->head);
}

const char *front_path(const struct front_request *request)
{
	return head_path(request->head);
}

const char *front_query(const struct front_request *request)
{
	return head_query(request->head);
}

const char *front_field(const struct front_request *request, const char *name)
{
	return head_field(request->head, name);
}

const uint8_t *front_body(const struct front_request *request, size_t *len)
{
	*len = request->head->body_len;
	return request->head->body ? request->head->body : (const uint8_t *)"";
}

const struct net_endpoint *front_from(const struct front_request *request)
{
	return &request->from;
}

bool front_is_secure(const struct front_request *request)
{
	return request->secure;
}

ssize_t front_query_get(
	const struct front_request *request, const char *name, char *buf, size_t size)
{
	return query_get(head_query(request->head), name, buf, size);
}
