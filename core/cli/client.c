/* SPDX-License-Identifier: BSD-3-Clause */
#include "client.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "secret.h"
#include "text.h"

/* A command's answer is at most some ten thousand peers; more than this is no daemon of ours. */
#define LINE_MAX_BYTES (256u << 20)

static int explain_permission(const char *path, struct err *err)
{
	struct stat st;
	const struct group *group = stat(path, &st) == 0 ? getgrgid(st.st_gid) : NULL;

	if (group == NULL || st.st_gid == 0)
		return err_set(err, -EACCES, "permission denied at %s: use sudo", path);
	return err_set(err, -EACCES,
		"permission denied at %s: use sudo, or join its group '%s' "
		"(sudo usermod -aG %s $USER, then log in again)",
		path, group->gr_name, group->gr_name);
}

static int explain(const char *path, int error, struct err *err)
{
	static const char start[] = "start it with 'sudo systemctl start tailplaned', or "
				    "'sudo tailplaned' in the foreground";

	switch (error) {
	case ENOENT:
		return err_set(err, -error, "no daemon at %s: %s", path, start);
	case ECONNREFUSED:
		return err_set(
			err, -error, "nobody listens at %s, the daemon has ended: %s", path, start);
	case EACCES:
	case EPERM:
		return explain_permission(path, err);
	default:
		return err_set(err, -error, "%s: %s", path, strerror(error));
	}
}

int client_connect(struct client *client, const char *path, struct err *err)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	*client = (struct client){.fd = -1};
	if (strlen(path) >= sizeof(sun.sun_path))
		return err_set(err, -ENAMETOOLONG, "%s: longer than a socket's path can be", path);
	strcpy(sun.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_set(err, -errno, "socket: %s", strerror(errno));
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) != 0) {
		int error = errno;

		close(fd);
		return explain(path, error, err);
	}
	client->fd = fd;
	return 0;
}

void client_close(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	if (client->buffer != NULL)
		secret_zero(client->buffer, client->size);
	free(client->buffer);
	*client = (struct client){.fd = -1};
}

/* The descriptor goes with the first byte. */
static ssize_t send_some(int sock, const char *data, size_t len, int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {(void *)data, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		struct cmsghdr *header = CMSG_FIRSTHDR(&msg);

		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	}
	return sendmsg(sock, &msg, MSG_NOSIGNAL);
}

int client_send(struct client *client, const char *op, json_t *args, int fd, struct err *err)
{
	json_t *request = json_pack("{s:s, s:O}", "op", op, "args", args);
	char *line = json_dumps(request, JSON_COMPACT);
	size_t len = line != NULL ? strlen(line) : 0, sent = 0;
	int rc = line != NULL ? 0 : err_set(err, -EINVAL, "the arguments are no JSON");

	if (rc == 0)
		line[len++] = '\n'; /* in the place of its NUL */
	while (rc == 0 && sent < len) {
		ssize_t n = send_some(client->fd, line + sent, len - sent, sent == 0 ? fd : -1);

		if (n < 0 && errno != EINTR)
			rc = err_set(err, -errno, "the daemon went away: %s", strerror(errno));
		sent += n > 0 ? (size_t)n : 0;
	}
	if (line != NULL)
		secret_zero(line, len);
	free(line);
	json_decref(request);
	return rc;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void reserve(struct client *client)
{
	if (client->size - client->used >= 65536)
		return;
	size_t size = client->size * 2 + 131072;
	char *buffer = text_alloc(size, 1);

	if (client->buffer != NULL) {
		memcpy(buffer, client->buffer, client->used);
		secret_zero(client->buffer, client->size);
		free(client->buffer);
	}
	client->buffer = buffer;
	client->size = size;
}

/* 1: more is there, 0: the time has passed, -errno. */
static int receive_some(struct client *client, int64_t until_ms, struct err *err)
{
	struct pollfd poll_fd = {.fd = client->fd, .events = POLLIN};
	int64_t left = until_ms < 0 ? -1 : until_ms - now_ms();

	if (poll(&poll_fd, 1, until_ms < 0 ? -1 : left < 0 ? 0 : (int)left) == 0)
		return 0;
	reserve(client);
	ssize_t n = recv(client->fd, client->buffer + client->used, client->size - client->used, 0);

	if (n < 0 && errno == EINTR)
		return 1;
	if (n < 0)
		return err_set(err, -errno, "the daemon went away: %s", strerror(errno));
	if (n == 0)
		return err_set(err, -ECONNRESET, "the daemon closed the connection");
	client->used += (size_t)n;
	return client->used <= LINE_MAX_BYTES
		       ? 1
		       : err_set(err, -EMSGSIZE, "the daemon's answer does not end");
}

bool client_wait(struct client *client, int timeout_ms, size_t *len, struct err *err)
{
	int64_t until = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
	size_t seen = 0;
	char *end;

	while (client->used == seen ||
		(end = memchr(client->buffer + seen, '\n', client->used - seen)) == NULL) {
		seen = client->used;
		if (receive_some(client, until, err) <= 0)
			return false;
	}
	*len = (size_t)(end - client->buffer);
	return true;
}

void client_drop(struct client *client, size_t len)
{
	client->used -= len + 1;
	memmove(client->buffer, client->buffer + len + 1, client->used);
}

json_t *client_take(struct client *client, size_t len, struct err *err)
{
	json_error_t why;
	json_t *line = json_loadb(client->buffer, len, 0, &why);

	client_drop(client, len);
	if (line == NULL)
		err_set(err, -EPROTO, "the daemon's answer is no JSON: %s", why.text);
	return line;
}

json_t *client_receive(struct client *client, int timeout_ms, struct err *err)
{
	size_t len;

	return client_wait(client, timeout_ms, &len, err) ? client_take(client, len, err) : NULL;
}

json_t *client_ask(
	struct client *client, const char *op, json_t *args, int timeout_ms, struct err *err)
{
	json_t *rows = json_array(), *line, *result = NULL;

	if (client_send(client, op, args, -1, err) < 0)
		goto out;
	while ((line = client_receive(client, timeout_ms, err)) != NULL) {
		json_t *row = json_object_get(line, "row"), *error = json_object_get(line, "error");

		if (row != NULL)
			json_array_append(rows, row);
		else if (error != NULL)
			err_set(err, -EIO, "%s", json_string_value(error));
		else
			result = json_incref(json_object_get(line, "result"));
		json_decref(line);
		if (row == NULL)
			break;
	}
	if (result != NULL && json_array_size(rows) > 0) {
		json_decref(result);
		result = json_incref(rows);
	}
out:
	json_decref(rows);
	return result;
}
