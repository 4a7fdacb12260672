/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs on: the control loop. */
#include "inherit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tailplane/log.h>

#include "notify.h"

#define MOST 512

static int handed[MOST], kept[MOST];
static unsigned n_handed, n_kept;
static int specials[INHERIT_SPECIALS] = {-1, -1, -1};

static bool is_open(int fd)
{
	return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

static void take_note(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (!is_open(fd) || n_handed == MOST)
		return;
	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	handed[n_handed++] = fd;
}

static void from_process(const char *sockets)
{
	for (int i = 0; i < INHERIT_SPECIALS; i++)
		if (is_open(INHERIT_FIRST + i))
			specials[i] = INHERIT_FIRST + i;
	for (int i = 0; i < atoi(sockets); i++)
		take_note(INHERIT_FIRST + INHERIT_SPECIALS + i);
}

static void from_manager(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");

	if (!pid || !fds || atol(pid) != getpid())
		return;
	for (int i = 0; i < atoi(fds); i++)
		take_note(INHERIT_FIRST + i);
}

void inherit_init(void)
{
	const char *sockets = getenv(INHERIT_VARIABLE);

	if (sockets)
		from_process(sockets);
	else
		from_manager();
	/* not for programs that we start */
	unsetenv(INHERIT_VARIABLE);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

int inherit_special(enum inherit_special what)
{
	int fd = specials[what];

	specials[what] = -1;
	return fd;
}

static bool where(int fd, struct net_endpoint *at)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	return getsockname(fd, (struct sockaddr *)&ss, &len) == 0 &&
	       net_endpoint_from_sockaddr(at, (struct sockaddr *)&ss) == 0;
}

static bool is_type(int fd, int type)
{
	int own = 0, listens = 0;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &own, &len) != 0 || own != type)
		return false;
	return type != SOCK_STREAM ||
	       (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens);
}

static int take(const struct net_endpoint *at, int type)
{
	for (unsigned i = 0; i < n_handed; i++) {
		struct net_endpoint own;
		int fd = handed[i];

		if (!is_type(fd, type) || !where(fd, &own) || !net_endpoint_equal(&own, at))
			continue;
		handed[i] = handed[--n_handed];
		return fd;
	}
	return -1;
}

int inherit_take(const struct net_endpoint *at)
{
	return take(at, SOCK_STREAM);
}

int handover_take_udp(const struct net_endpoint *at)
{
	return take(at, SOCK_DGRAM);
}

void handover_add(int fd)
{
	if (n_kept < MOST)
		kept[n_kept++] = fd;
}

void handover_remove(int fd)
{
	for (unsigned i = 0; i < n_kept; i++)
		if (kept[i] == fd)
			kept[i--] = kept[--n_kept];
}

const int *inherit_kept(size_t *n)
{
	*n = n_kept;
	return kept;
}

void inherit_done(void)
{
	while (n_handed) {
		char text[NET_ENDPOINT_STRLEN] = "no address";
		struct net_endpoint at;
		int fd = handed[--n_handed];

		if (where(fd, &at))
			net_endpoint_format(&at, text);
		log_warnx(
			"a socket that was handed over is not in the configuration, and closed: %s",
			text);
		inherit_drop(fd);
		close(fd);
	}
}

/* A name of its own for each address; a manager knows no ':' in names. */
static bool name_of(int fd, char *name, size_t size)
{
	char text[NET_ENDPOINT_STRLEN];
	struct net_endpoint at;

	if (!where(fd, &at))
		return false;
	snprintf(name, size, "listen-%s", net_endpoint_format(&at, text));
	for (char *c = name; *c; c++)
		if (*c == ':' || *c == '%')
			*c = '_';
	return true;
}

static void tell(const char *what, int fd, bool with_fd)
{
	char name[NET_ENDPOINT_STRLEN + 16], text[NET_ENDPOINT_STRLEN + 64];

	if (!name_of(fd, name, sizeof(name)))
		return;
	snprintf(text, sizeof(text), "%s=1\nFDNAME=%s", what, name);
	notify_with(text, with_fd ? fd : -1);
}

void inherit_keep(int fd)
{
	handover_add(fd);
	tell("FDSTORE", fd, true);
}

void inherit_drop(int fd)
{
	handover_remove(fd);
	tell("FDSTOREREMOVE", fd, false);
}
