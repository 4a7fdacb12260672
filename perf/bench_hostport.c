/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_hostport [--json] [ROUNDS [SECONDS [WAY]]]
 *
 * What the host port adds to what the kernel takes: CPU seconds of the forwarding thread per GB of
 * TCP between two namespaces, three ways, interleaved in one run.
 *
 *      namespace A                 this program                namespace B
 *    TCP sender -- tp0 -- [ unchanged | packets | udp ] -- tp0 -- TCP receiver
 *
 * unchanged: super-packets read and written as they are, which is the floor.
 * packets:   cut into mbufs, joined again (a TUN port on either side).
 * udp:       the same, and between the two a train of datagrams through loopback sockets, as
 * between two gateways that seal nothing.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "hostport.h"
#include "port_tun.h"
#include "port_udp.h"

#define MTU 1420
#define TCP_PORT 7000

enum { A, B };

static int namespaces[2];
static struct port *tuns[2], *udps[2];
static struct packet_path paths[2]; /* from A to B, from B to A */
static struct rte_mbuf *pkts[NODE_BURST_LARGE];
static atomic_bool done;
static double seconds = 2;
static bool json;

static void namespace_use(int side)
{
	if (setns(namespaces[side], CLONE_NEWNET) < 0)
		err(1, "setns");
}

/* ---- TCP ------------------------------------------------------------------------------------ */

static struct sockaddr_in address(int side)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(TCP_PORT)};

	inet_pton(AF_INET, side == A ? "10.0.0.1" : "10.0.0.2", &at.sin_addr);
	return at;
}

static int listen_at(int side)
{
	struct sockaddr_in at = address(side);
	int one = 1, fd;

	namespace_use(side);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
		bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 1) < 0)
		err(1, "listen");
	return fd;
}

static void *tcp_send(void *arg)
{
	static const uint8_t data[1 << 17];
	struct sockaddr_in to = address(B);
	double end;
	int fd;

	(void)arg;
	namespace_use(A);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (setsockopt(fd, IPPROTO_TCP, 13 /* TCP_CONGESTION */, "cubic", 5) < 0 ||
		connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		err(1, "connect");
	end = seconds_now() + seconds;
	while (seconds_now() < end)
		if (send(fd, data, sizeof(data), MSG_NOSIGNAL) < 0)
			err(1, "send");
	close(fd);
	return NULL;
}

static uint64_t received;

static void *tcp_receive(void *arg)
{
	static uint8_t buf[1 << 18];
	int fd = accept(*(int *)arg, NULL, NULL);
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		received += (uint64_t)n;
	close(fd);
	atomic_store(&done, true);
	return NULL;
}

/* ---- the three ways ------------------------------------------------------------------------- */

static bool pass_unchanged(int side)
{
	static uint8_t buf[SCATTER_BYTES_MAX + 64];
	bool busy = false;

	for (unsigned i = 0; i < 4; i++) {
		ssize_t n = read(tuns[side]->queues[0].fd, buf, sizeof(buf));

		if (n <= 0)
			break;
		busy = true;
		if (write(tuns[!side]->queues[0].fd, buf, (size_t)n) < 0)
			warn("write");
	}
	return busy;
}

/* As the graph gathers: a few bursts, while they are good ones. */
static uint16_t receive(struct port *p)
{
	uint16_t n = 0, got;

	do {
		got = p->ops->rx(&worker, &p->queues[0], pkts + n, NODE_BURST_MAX);
		n += got;
	} while (got >= NODE_BURST_MAX / 2 && n + NODE_BURST_MAX <= NODE_BURST_LARGE);
	return n;
}

static void send_all(struct port *p, uint16_t n)
{
	p->ops->tx(&worker, &p->queues[0], pkts, n);
}

static bool pass_packets(int side)
{
	uint16_t n = receive(tuns[side]);

	if (n)
		send_all(tuns[!side], n);
	return n;
}

static bool pass_over_udp(int side)
{
	uint16_t n = receive(tuns[side]), m;

	for (uint16_t i = 0; i < n; i++)
		packet_of(pkts[i])->path = paths[side];
	if (n)
		send_all(udps[side], n);
	m = receive(udps[!side]);
	if (m)
		send_all(tuns[!side], m);
	return n || m;
}

static void sleep_until_ready(bool udp)
{
	struct pollfd fds[4] = {{.fd = tuns[A]->queues[0].fd, .events = POLLIN},
		{.fd = tuns[B]->queues[0].fd, .events = POLLIN},
		{.fd = udps[A]->queues[0].fd, .events = POLLIN},
		{.fd = udps[B]->queues[0].fd, .events = POLLIN}};

	poll(fds, udp ? 4 : 2, 10);
}

static double cpu_now(void)
{
	struct rusage u;

	getrusage(RUSAGE_THREAD, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static void print(const char *name, double gbps, double cpu_per_gb)
{
	static const char *comma = "";

	if (!json) {
		printf("%-10s %6.2f Gbit/s %6.3f CPU s/GB\n", name, gbps, cpu_per_gb);
		return;
	}
	printf("%s{\"way\": \"%s\", \"gbps\": %.3f, \"cpu_s_per_gb\": %.4f}", comma, name, gbps,
		cpu_per_gb);
	comma = ", ";
}

static void measure(const char *name, bool (*pass)(int side))
{
	int listener = listen_at(B);
	pthread_t threads[2];
	double cpu, start;

	received = 0;
	atomic_store(&done, false);
	pthread_create(&threads[0], NULL, tcp_receive, &listener);
	pthread_create(&threads[1], NULL, tcp_send, NULL);
	cpu = cpu_now();
	start = seconds_now();
	while (!atomic_load(&done)) {
		bool busy = pass(A);

		busy |= pass(B);
		if (!busy)
			sleep_until_ready(pass == pass_over_udp);
	}
	print(name, (double)received * 8e-9 / (seconds_now() - start),
		(cpu_now() - cpu) / ((double)received * 1e-9));
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	close(listener);
}

/* ---- set-up --------------------------------------------------------------------------------- */

static void side_open(int side)
{
	struct net_prefix prefix;
	struct err error = {0};

	if (!namespace_enter())
		errx(1, "network namespaces need root");
	namespaces[side] = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	tuns[side] = port_tun_open("tp0", 1, MTU, 0, &error);
	net_prefix_parse(&prefix, side == A ? "10.0.0.1/24" : "10.0.0.2/24");
	if (!tuns[side] || netlink_address_add("tp0", &prefix, &error) < 0 ||
		netlink_link_up("tp0", MTU, &error) < 0)
		errx(1, "%s", error.msg);
}

/* Both ends of the UDP way in one namespace: a train crosses the loopback interface. */
static void udp_open(void)
{
	uint16_t listen_port[2] = {0};
	struct err error = {0};

	for (int side = A; side <= B; side++) {
		udps[side] = port_udp_open(&listen_port[side], 1, 0, 0, &error);
		if (!udps[side])
			errx(1, "%s", error.msg);
	}
	for (int side = A; side <= B; side++) {
		paths[side] = (struct packet_path){
			.family = AF_INET, .remote_port = htons(listen_port[!side])};
		inet_pton(AF_INET, "127.0.0.1", paths[side].remote);
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		bool (*pass)(int side);
	} ways[] = {
		{"unchanged", pass_unchanged}, {"packets", pass_packets}, {"udp", pass_over_udp}};
	unsigned rounds;

	json = argc > 1 && !strcmp(argv[1], "--json");
	argc -= json;
	argv += json;
	rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 3;
	if (argc > 2)
		seconds = atof(argv[2]);
	hostport_start();
	side_open(A);
	side_open(B);
	udp_open();
	if (json)
		printf("{\"results\": [");
	for (unsigned i = 0; i < rounds; i++)
		for (unsigned k = 0; k < RTE_DIM(ways); k++)
			if (argc < 4 || !strcmp(argv[3], ways[k].name))
				measure(ways[k].name, ways[k].pass);
	if (json)
		puts("]}");
	return 0;
}
