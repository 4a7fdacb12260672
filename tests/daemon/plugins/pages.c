/* SPDX-License-Identifier: BSD-3-Clause */
/* A plugin with routes of each kind on the front door. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/front.h>
#include <tailplane/plugin.h>

static const char user[] = "pages";

/* Everything that a handler can learn, as JSON. */
static void serve_mirror(struct front_request *request, void *arg)
{
	char from[NET_ENDPOINT_STRLEN], name[16] = "", *text;
	size_t len;
	const uint8_t *body = front_body(request, &len);
	ssize_t found = front_query_get(request, "name", name, sizeof(name));
	const char *field = front_field(request, "x-test");
	json_t *all = json_pack("{ss ss ss ss si ss? sb sb ss%}", "method", front_method(request),
		"path", front_path(request), "query", front_query(request), "from",
		net_endpoint_format(front_from(request), from), "name_len", (int)found, "x_test",
		field, "secure", front_is_secure(request), "control",
		io_loop_here() == io_loop_control(), "body", (const char *)body, len);

	(void)arg;
	if (all && found >= 0)
		json_object_set_new(all, "name", json_string(name));
	text = all ? json_dumps(all, 0) : NULL;
	json_decref(all);
	front_header(request, "X-Mirror", "yes");
	front_header(request, "X-Evil", "a\r\nInjected: b");
	if (text)
		front_reply(request, 200, "application/json", text, strlen(text));
	else
		front_reply_text(request, 500, "no JSON");
	free(text);
}

static void serve_page(struct front_request *request, void *arg)
{
	static const char page[] = "<!doctype html><title>x</title>";

	(void)arg;
	front_reply(request, 200, "text/html; charset=utf-8", page, sizeof(page) - 1);
}

static void serve_large(struct front_request *request, void *arg)
{
	size_t len = 8 << 20;
	char *body = malloc(len);

	(void)arg;
	memset(body, 'x', len);
	front_reply(request, 200, "application/octet-stream", body, len);
	free(body);
}

static void serve_nothing(struct front_request *request, void *arg)
{
	(void)arg;
	front_reply(request, 204, NULL, NULL, 0);
}

/* ---- an upgraded connection gives back what it gets, in capitals ---- */

struct shout {
	struct io_message message;
	struct io_stream *stream;
	ev_io readable;
};

static void shout_end(struct ev_loop *ev, struct shout *shout)
{
	ev_io_stop(ev, &shout->readable);
	io_stream_close(shout->stream);
	free(shout->stream);
	free(shout);
}

static void on_readable(struct ev_loop *ev, ev_io *io, int revents)
{
	struct shout *shout = io->data;
	char buf[4096];
	ssize_t n;

	(void)revents;
	while ((n = io_stream_read(shout->stream, buf, sizeof(buf))) > 0) {
		struct iovec iov[2] = {{buf, (size_t)n / 2}, {buf + n / 2, (size_t)(n - n / 2)}};

		for (ssize_t i = 0; i < n; i++)
			buf[i] = (char)(buf[i] >= 'a' && buf[i] <= 'z' ? buf[i] - 32 : buf[i]);
		if (io_stream_writev(shout->stream, iov, 2) != n)
			break;
	}
	if (n != -EAGAIN)
		shout_end(ev, shout);
}

static void shout_begin(struct io_message *message)
{
	struct shout *shout = (struct shout *)message;
	struct ev_loop *ev = io_loop_ev(io_loop_here());
	static char words[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: shout\r\n"
			      "Connection: Upgrade\r\n\r\n";
	struct iovec iov = {words, sizeof(words) - 1};

	io_stream_writev(shout->stream, &iov, 1);
	ev_io_init(&shout->readable, on_readable, shout->stream->fd, EV_READ);
	shout->readable.data = shout;
	ev_io_start(ev, &shout->readable);
	ev_feed_event(ev, &shout->readable, EV_READ);
}

/* Goes to the last loop, whichever the first one was. */
static void serve_shout(struct front_request *request, void *arg)
{
	struct shout *shout = calloc(1, sizeof(*shout));

	(void)arg;
	shout->stream = front_upgrade(request);
	shout->message.run = shout_begin;
	if (shout->stream)
		io_post(io_loop_at(io_loop_count() - 1), &shout->message);
	else
		free(shout);
}

static const struct front_route routes[] = {
	{"GET POST", "/mirror", NULL, 0, 1000, serve_mirror, (void *)user},
	{"GET POST", "/control", NULL, FRONT_ON_CONTROL | FRONT_PLAIN, 1 << 20, serve_mirror,
		(void *)user},
	{"GET", "/below/", NULL, FRONT_PREFIX, 0, serve_mirror, (void *)user},
	{"GET", "/below/deep/", NULL, FRONT_PREFIX, 0, serve_nothing, (void *)user},
	{"GET", "/page", NULL, 0, 0, serve_page, (void *)user},
	{"GET", "/large", NULL, 0, 0, serve_large, (void *)user},
	{"GET POST", "/shout", "shout", FRONT_PLAIN, 0, serve_shout, (void *)user},
};

/* The certificate that goes behind every chain, from a file. */
static void run_extra(struct op_call *call, const json_t *args)
{
	uint8_t der[8192];
	struct err err = {0};
	ssize_t n = state_read(
		json_string_value(json_object_get(args, "file")), der, sizeof(der), &err);

	if (n < 0 || front_extra_certificate(der, (size_t)n, &err) != 0)
		op_fail(call, "%s", err.msg);
	else
		op_reply(call, NULL);
}

static const struct op_arg extra_args[] = {
	{.name = "file", .type = SETTING_STRING, .flags = OP_ARG_REQUIRED}, {NULL}};
static const struct op ops[] = {
	{"pages extra", "A certificate more", OP_WRITE, extra_args, NULL, run_extra}, {NULL}};

static int start(const void *conf, struct err *err)
{
	(void)conf;
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		int rc = front_route_add(&routes[i], err);

		if (rc)
			return rc;
	}
	return front_route_add(&routes[0], NULL) == -EEXIST ? 0 : -EINVAL;
}

static void stop(void)
{
	front_routes_remove(user);
}

__attribute__((visibility("default"))) const struct plugin tailplane_plugin = {
	.abi = TAILPLANE_ABI,
	.size = sizeof(struct plugin),
	.name = "pages",
	.version = "1",
	.summary = "Pages for tests",
	.ops = ops,
	.start = start,
	.stop = stop,
};
