/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kernel alone takes to send a few bytes on each of many connections of this machine, the
 * far end's share of the work included: below that no server goes. Runs on: the server's core; the
 * receiver is a process on the generator's. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "load.h"

#define LEN 160 /* of a change of endpoints, sealed */
#define ROUNDS 40
#define REST_US 10000 /* between them: the receiver sleeps */
#define EVENTS_MAX 512

static int connect_to(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof(*to)) != 0)
		_exit(1);
	return fd;
}

static void receive(const struct sockaddr_in *from, unsigned n, int core)
{
	static char bytes[65536];
	struct epoll_event events[EVENTS_MAX];
	int epoll = epoll_create1(0);
	cpu_set_t cores;

	CPU_ZERO(&cores);
	CPU_SET((size_t)core, &cores);
	sched_setaffinity(0, sizeof(cores), &cores);
	for (unsigned i = 0; i < n; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.fd = connect_to(from)};

		epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
	}
	for (;;) {
		int ready = epoll_wait(epoll, events, EVENTS_MAX, -1);

		for (int i = 0; i < ready; i++)
			if (recv(events[i].data.fd, bytes, sizeof(bytes), 0) <= 0)
				_exit(0);
	}
}

static double send_all(const int *fds, unsigned n)
{
	static const char bytes[LEN];
	double since, cpu = 0;

	for (unsigned round = 0; round < ROUNDS; round++) {
		since = clock_seconds(CLOCK_THREAD_CPUTIME_ID);
		for (unsigned i = 0; i < n; i++)
			if (send(fds[i], bytes, sizeof(bytes), MSG_NOSIGNAL) != LEN)
				return -1;
		if (round >= ROUNDS / 4) /* the first ones find cold caches */
			cpu += clock_seconds(CLOCK_THREAD_CPUTIME_ID) - since;
		usleep(REST_US);
	}
	return cpu * 1e6 / n / (ROUNDS - ROUNDS / 4);
}

double floor_of_sends(unsigned n, int receiver_core)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int *fds = calloc(n, sizeof(*fds));
	double each = -1;
	pid_t child;

	if (!fds || bind(listener, (struct sockaddr *)&at, sizeof(at)) != 0 ||
		listen(listener, 4096) != 0 ||
		getsockname(listener, (struct sockaddr *)&at, &len) != 0)
		return -1;
	child = fork();
	if (child == 0)
		receive(&at, n, receiver_core);
	for (unsigned i = 0; i < n; i++) {
		fds[i] = accept(listener, NULL, NULL);
		setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	}
	each = send_all(fds, n);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	close(listener);
	free(fds);
	return each;
}
