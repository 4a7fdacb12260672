/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket: requests as lines of JSON, their answers as lines of JSON. Runs on: the
 * control loop.
 *
 * A connection works on one request at a time; the next lines wait in its input. It is closed from
 * its own watcher's callback alone: an operation that writes to one which must end only marks it
 * (`doomed`), since that operation may still hold its call.
 */
#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <tailplane/log.h>
#include <tailplane/loop.h>
#include <tailplane/state.h>

#include "bytes_buffer.h"
#include "ops.h"

#define CONNS_MAX 64
#define LINE_MAX_BYTES (1u << 20)
#define BACKLOG_MAX_BYTES (16u << 20)
#define SOCKET_BYTES (1 << 20) /* as far as the kernel lets: a turn of the loop for each */

struct conn {
	struct conn *next, **prev;
	ev_io readable, writable;
	struct bytes_buffer in, out;
	int passed_fd;        /* came with the request that is being read; -1: none */
	bool busy;            /* a request is under way */
	struct op_call *call; /* it, when its answer comes later */
	bool ending;          /* when `out` is written */
	bool doomed;          /* now */
	struct ucred peer;
};

static struct {
	ev_io acceptable;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	bool listening;
	bool shared; /* the process before us answers there as well */
	struct conn *conns;
	unsigned n_conns;
} ctl;

/* ---- answers ---- */

static void doom(struct conn *conn)
{
	conn->doomed = true;
	ev_feed_event(core_loop(), &conn->readable, EV_READ);
}

/* One answer may be long; a client that does not take the ones before gets no more. */
static bool may_put(struct conn *conn)
{
	if (conn->doomed)
		return false;
	if (bytes_buffer_used(&conn->out) <= BACKLOG_MAX_BYTES)
		return true;
	log_warnx("ctl: process %d does not read what it asked for: closed", conn->peer.pid);
	doom(conn);
	return false;
}

struct part {
	const char *text;
	size_t len;
};

static void put_parts(struct conn *conn, const struct part *parts, unsigned n)
{
	size_t len = 0;

	for (unsigned i = 0; i < n; i++)
		len += parts[i].len;
	bytes_buffer_reserve(&conn->out, len);
	for (unsigned i = 0; i < n; i++)
		bytes_buffer_add(&conn->out, parts[i].text, parts[i].len);
	ev_io_start(core_loop(), &conn->writable);
}

/* Takes the reference. Numbers as they were written: 0.1 is no 0.10000000000000001. */
static void put_line(struct conn *conn, json_t *line)
{
	char *text = line ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;

	json_decref(line);
	if (!text) {
		doom(conn);
		return;
	}
	if (may_put(conn))
		put_parts(conn, (struct part[]){{text, strlen(text)}, {"\n", 1}}, 2);
	explicit_bzero(text, strlen(text));
	free(text);
}

/* The answer has come: on to the next line, from the read callback. */
static void request_done(struct conn *conn)
{
	conn->busy = false;
	conn->call = NULL;
	if (bytes_buffer_used(&conn->in))
		ev_feed_event(core_loop(), &conn->readable, EV_READ);
}

static void sink_row(void *ctx, const json_t *row)
{
	put_line(ctx, json_pack("{s:O}", "row", row));
}

static void sink_result(void *ctx, const json_t *result)
{
	put_line(ctx, json_pack("{s:O}", "result", result));
	request_done(ctx);
}

static void sink_text(void *ctx, const char *text, size_t len)
{
	struct conn *conn = ctx;
	struct part parts[] = {{"{\"result\":", 10}, {text, len}, {"}\n", 2}};

	if (may_put(conn))
		put_parts(conn, parts, 3);
	request_done(conn);
}

static void sink_error(void *ctx, const char *text, const json_t *result)
{
	json_t *value = json_string(text);

	/* not UTF-8, from a file's name or the like */
	if (!value)
		value = json_string("failed, for a reason that is no text");
	put_line(ctx, json_pack("{s:o, s:O*}", "error", value, "result", result));
	request_done(ctx);
}

static const struct op_sink sink = {sink_row, sink_result, sink_text, sink_error};

/* ---- requests ---- */

static const char *check_request(json_t *request)
{
	const char *key;
	json_t *value;

	if (!json_is_object(request))
		return "a request is an object: {\"op\": NAME, \"args\": {...}}";
	json_object_foreach (request, key, value) {
		if (strcmp(key, "op") != 0 && strcmp(key, "args") != 0)
			return "a request has \"op\" and \"args\", nothing else";
	}
	if (!json_is_string(json_object_get(request, "op")))
		return "\"op\" takes the name of an operation; \"describe\" tells them all";
	return NULL;
}

static void audit(const struct conn *conn, const char *name)
{
	struct instance *owner;
	const struct op *op = op_find(name, &owner);

	if (op && op->scope == OP_WRITE)
		log_debug(
			"ctl: %s by user %u, process %d", op->name, conn->peer.uid, conn->peer.pid);
}

static void run_request(struct conn *conn, json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "op"));
	int fd = conn->passed_fd;
	struct op_call *call;

	audit(conn, name);
	conn->passed_fd = -1;
	conn->busy = true;
	call = op_start(name, json_incref(json_object_get(request, "args")), fd, &sink, conn);
	if (call)
		conn->call = call;
}

static void take_line(struct conn *conn, const char *line, size_t len)
{
	json_error_t why;
	json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, &why);
	const char *wrong = request ? check_request(request) : NULL;
	char text[sizeof(why.text) + 64];

	if (!request) {
		snprintf(text, sizeof(text), "not JSON: %s (byte %d)", why.text, why.position);
		wrong = text;
	}
	if (wrong)
		sink_error(conn, wrong, NULL);
	else
		run_request(conn, request);
	json_decref(request);
}

static void take_lines(struct conn *conn)
{
	while (!conn->busy && !conn->doomed && !conn->ending) {
		size_t used = bytes_buffer_used(&conn->in);
		const char *line = bytes_buffer_data(&conn->in);
		const char *end = used ? memchr(line, '\n', used) : NULL;

		if (!end)
			break;
		if (end != line)
			take_line(conn, line, (size_t)(end - line));
		bytes_buffer_drop(&conn->in, (size_t)(end - line) + 1);
	}
	if (bytes_buffer_used(&conn->in) <= LINE_MAX_BYTES || conn->doomed || conn->ending)
		return;
	put_line(conn, json_pack("{s:s}", "error", "a request is longer than 1 MiB"));
	conn->ending = true;
}

/* ---- connections ---- */

static void conn_close(struct conn *conn)
{
	ev_io_stop(core_loop(), &conn->readable);
	ev_io_stop(core_loop(), &conn->writable);
	if (conn->call)
		op_abandon(conn->call);
	close(conn->readable.fd);
	if (conn->passed_fd >= 0)
		close(conn->passed_fd);
	bytes_buffer_fini(&conn->in);
	bytes_buffer_fini(&conn->out);
	*conn->prev = conn->next;
	if (conn->next)
		conn->next->prev = conn->prev;
	ctl.n_conns--;
	free(conn);
}

/* One descriptor waits for its request's line; what comes beyond it is closed. */
static void take_fds(struct conn *conn, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (conn->passed_fd < 0)
				conn->passed_fd = fd;
			else
				close(fd);
		}
	}
}

/* False: the connection has ended. */
static bool read_some(struct conn *conn)
{
	char bytes[16384], control[CMSG_SPACE(4 * sizeof(int))];
	struct iovec iov = {bytes, sizeof(bytes)};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(conn->readable.fd, &msg, MSG_CMSG_CLOEXEC);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	take_fds(conn, &msg);
	bytes_buffer_add(&conn->in, bytes, (size_t)n);
	explicit_bzero(bytes, (size_t)n);
	return n > 0;
}

/* Who sent all they had to say may still be waiting for answers; not so in the middle of one: an
 * operation is told that its client has gone. */
static void end_reading(struct conn *conn)
{
	if (conn->doomed || conn->busy || !bytes_buffer_used(&conn->out)) {
		conn_close(conn);
		return;
	}
	conn->ending = true;
	ev_io_stop(core_loop(), &conn->readable);
}

LOOP_CALLBACK(ctl_read, ev_io)
{
	struct conn *conn = watcher->data;

	(void)loop, (void)revents;
	if (conn->doomed || !read_some(conn)) {
		end_reading(conn);
		return;
	}
	/* behind a line that was too long, nothing is kept */
	if (conn->ending)
		bytes_buffer_drop(&conn->in, bytes_buffer_used(&conn->in));
	take_lines(conn);
}

/* False: the connection has ended. */
static bool write_some(struct conn *conn)
{
	ssize_t n = send(conn->writable.fd, bytes_buffer_data(&conn->out),
		bytes_buffer_used(&conn->out), MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	bytes_buffer_drop(&conn->out, (size_t)n);
	return true;
}

LOOP_CALLBACK(ctl_write, ev_io)
{
	struct conn *conn = watcher->data;

	(void)revents;
	if (conn->doomed || (bytes_buffer_used(&conn->out) && !write_some(conn))) {
		conn_close(conn);
		return;
	}
	if (bytes_buffer_used(&conn->out))
		return;
	ev_io_stop(loop, watcher);
	if (conn->ending)
		conn_close(conn);
}

static void refuse_conn(int fd)
{
	static const char text[] = "{\"error\":\"too many connections\"}\n";

	if (send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_debug("ctl: one connection too many, and it does not listen");
	close(fd);
}

LOOP_CALLBACK(ctl_accept, ev_io)
{
	int fd = accept4(watcher->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	socklen_t len = sizeof(struct ucred);
	const int room = SOCKET_BYTES;
	struct conn *conn;

	(void)revents;
	if (fd < 0)
		return;
	if (ctl.n_conns == CONNS_MAX) {
		refuse_conn(fd);
		return;
	}
	conn = calloc(1, sizeof(*conn));
	if (!conn) {
		close(fd);
		return;
	}
	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &conn->peer, &len);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	conn->passed_fd = -1;
	ev_io_init(&conn->readable, ctl_read, fd, EV_READ);
	ev_io_init(&conn->writable, ctl_write, fd, EV_WRITE);
	conn->readable.data = conn->writable.data = conn;
	conn->next = ctl.conns;
	conn->prev = &ctl.conns;
	if (conn->next)
		conn->next->prev = &conn->next;
	ctl.conns = conn;
	ctl.n_conns++;
	ev_io_start(loop, &conn->readable);
}

/* ---- the socket ---- */

static int socket_new(struct sockaddr_un *sun, struct err *err)
{
	int n = snprintf(ctl.path, sizeof(ctl.path), "%s/ctl.sock", core_runtime_dir());
	int fd;

	if (n >= (int)sizeof(ctl.path))
		return err_set(err, -ENAMETOOLONG,
			"core.runtime_dir %s is too long for a socket in it", core_runtime_dir());
	*sun = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(sun->sun_path, ctl.path, sizeof(ctl.path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return fd >= 0 ? fd : err_set(err, -errno, "socket: %s", strerror(errno));
}

static int check_nobody_answers(const struct sockaddr_un *sun, struct err *err)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rc = 0;
	socklen_t len = sizeof(struct ucred);
	struct ucred peer = {0};
	struct stat st;

	if (fd < 0)
		return err_set(err, -errno, "socket: %s", strerror(errno));
	if (connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0 || errno == EAGAIN) {
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
		rc = err_set(err, -EADDRINUSE,
			"process %d answers at %s already: stop it, or choose another "
			"core.runtime_dir",
			peer.pid, ctl.path);
	} else if (lstat(ctl.path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
		rc = err_set(err, -EEXIST, "%s is in the way, and no socket", ctl.path);
	}
	close(fd);
	return rc;
}

static int bind_socket(int fd, const struct sockaddr_un *sun, struct err *err)
{
	int rc = check_nobody_answers(sun, err);

	if (rc)
		return rc;
	if ((unlink(ctl.path) != 0 && errno != ENOENT) ||
		bind(fd, (const struct sockaddr *)sun, sizeof(*sun)) != 0)
		return err_set(err, -errno, "cannot make %s: %s", ctl.path, strerror(errno));
	ctl.listening = true;
	/* before listen: nobody gets in under the mode that bind gave */
	if (chmod(ctl.path, 0660) != 0 || listen(fd, CONNS_MAX) != 0)
		return err_set(err, -errno, "cannot listen at %s: %s", ctl.path, strerror(errno));
	return 0;
}

/* Whether it is the one that we would make. */
static bool is_ours(int fd, const struct sockaddr_un *sun)
{
	struct sockaddr_un own = {0};
	socklen_t len = sizeof(own);

	return getsockname(fd, (struct sockaddr *)&own, &len) == 0 &&
	       strncmp(own.sun_path, sun->sun_path, sizeof(own.sun_path)) == 0;
}

int ctl_start(int shared, struct err *err)
{
	struct sockaddr_un sun;
	int fd = socket_new(&sun, err);
	int rc;

	if (fd < 0)
		return fd;
	if (shared >= 0 && is_ours(shared, &sun)) {
		close(fd);
		ctl.listening = ctl.shared = true;
		ev_io_init(&ctl.acceptable, ctl_accept, shared, EV_READ);
		ev_io_start(core_loop(), &ctl.acceptable);
		return 0;
	}
	if (shared >= 0)
		close(shared);
	ev_io_init(&ctl.acceptable, ctl_accept, fd, EV_READ);
	rc = bind_socket(fd, &sun, err);
	if (!rc) {
		ev_io_start(core_loop(), &ctl.acceptable);
		return 0;
	}
	if (ctl.listening)
		ctl_close_socket();
	else
		close(fd);
	return rc;
}

int ctl_fd(void)
{
	return ctl.acceptable.fd;
}

void ctl_own(void)
{
	ctl.shared = false;
}

void ctl_leave(void)
{
	ctl.listening = false;
	ev_io_stop(core_loop(), &ctl.acceptable);
	close(ctl.acceptable.fd);
}

void ctl_close_socket(void)
{
	if (!ctl.listening)
		return;
	if (!ctl.shared)
		unlink(ctl.path);
	ctl_leave();
}

void ctl_stop(void)
{
	ctl_close_socket();
	while (ctl.conns) {
		if (bytes_buffer_used(&ctl.conns->out) && !write_some(ctl.conns))
			log_debug("ctl: process %d left before its answer", ctl.conns->peer.pid);
		conn_close(ctl.conns);
	}
}

void ctl_collect(struct metric_sink *sink)
{
	static const struct metric open = {
		"tailplane_ctl_connections", METRIC_GAUGE, "Connections to the control socket."};

	metric_add(sink, &open, NULL, 0, ctl.n_conns);
}
