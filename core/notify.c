/* SPDX-License-Identifier: BSD-3-Clause */
/* sd_notify(3) by datagram. Runs on: the control loop. */
#include "notify.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <tailplane/log.h>
#include <tailplane/loop.h>

static ev_timer watchdog;

static void notify(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	size_t len = path ? strlen(path) : 0;
	int fd;

	if (!len || len >= sizeof(sun.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(sun.sun_path, path, len);
	if (path[0] == '@')
		sun.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	if (sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&sun,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		log_debug("notify: %s did not get through", text);
	close(fd);
}

void notify_ready(void)
{
	notify("READY=1");
}

void notify_reloading(void)
{
	char text[64];

	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%llu",
		(unsigned long long)(core_now() / 1000));
	notify(text);
}

void notify_stopping(void)
{
	notify("STOPPING=1");
}

LOOP_CALLBACK(watchdog_tick, ev_timer)
{
	(void)loop, (void)watcher, (void)revents;
	notify("WATCHDOG=1");
}

void notify_watchdog_start(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	double seconds = usec ? strtod(usec, NULL) / 1e6 / 2 : 0;

	if (!(seconds > 0) || (pid && atol(pid) != getpid()))
		return;
	ev_timer_init(&watchdog, watchdog_tick, seconds, seconds);
	ev_timer_start(core_loop(), &watchdog);
}

void notify_watchdog_stop(void)
{
	ev_timer_stop(core_loop(), &watchdog);
}
