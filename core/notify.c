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

/* The room for one descriptor that goes along. */
union passed {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

static void attach(struct msghdr *msg, union passed *room, int passed)
{
	struct cmsghdr *cmsg;

	memset(room, 0, sizeof(*room));
	msg->msg_control = room;
	msg->msg_controllen = sizeof(*room);
	cmsg = CMSG_FIRSTHDR(msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(passed));
	memcpy(CMSG_DATA(cmsg), &passed, sizeof(passed));
}

void notify_with(const char *text, int passed)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct iovec iov = {(char *)text, strlen(text)};
	struct msghdr msg = {.msg_name = &sun, .msg_iov = &iov, .msg_iovlen = 1};
	size_t len = path ? strlen(path) : 0;
	union passed room;
	int fd;

	if (!len || len >= sizeof(sun.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(sun.sun_path, path, len);
	if (path[0] == '@')
		sun.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	msg.msg_namelen = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	if (passed >= 0)
		attach(&msg, &room, passed);
	if (sendmsg(fd, &msg, MSG_NOSIGNAL) < 0)
		log_debug("notify: %s did not get through", text);
	close(fd);
}

static void notify(const char *text)
{
	notify_with(text, -1);
}

void notify_ready(void)
{
	notify("READY=1");
}

void notify_main(int pid)
{
	char text[32];

	snprintf(text, sizeof(text), "MAINPID=%d", pid);
	notify(text);
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
