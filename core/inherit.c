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

#define FIRST 3 /* SD_LISTEN_FDS_START */
#define MOST 64

static int handed[MOST];
static unsigned n_handed;

void inherit_init(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	unsigned n = pid && fds && atol(pid) == getpid() ? (unsigned)atoi(fds) : 0;

	for (unsigned i = 0; i < n && i < MOST; i++) {
		int fd = FIRST + (int)i, flags = fcntl(fd, F_GETFL);

		if (flags < 0)
			continue;
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		handed[n_handed++] = fd;
	}
	/* not for programs that we start */
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

static bool where(int fd, struct net_endpoint *at)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	return getsockname(fd, (struct sockaddr *)&ss, &len) == 0 &&
	       net_endpoint_from_sockaddr(at, (struct sockaddr *)&ss) == 0;
}

static bool listens(int fd)
{
	int yes = 0;
	socklen_t len = sizeof(yes);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &len) == 0 && yes;
}

int inherit_take(const struct net_endpoint *at)
{
	for (unsigned i = 0; i < n_handed; i++) {
		struct net_endpoint own;
		int fd = handed[i];

		if (!listens(fd) || !where(fd, &own) || !net_endpoint_equal(&own, at))
			continue;
		handed[i] = handed[--n_handed];
		return fd;
	}
	return -1;
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
	tell("FDSTORE", fd, true);
}

void inherit_drop(int fd)
{
	tell("FDSTOREREMOVE", fd, false);
}
