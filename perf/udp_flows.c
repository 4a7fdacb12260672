/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * udp_flows receive PORT
 * udp_flows send ADDRESS PORT RATE SIZE FLOWS SECONDS
 *
 * Datagrams at a steady rate, each with its flow's sequence number and the time it was sent; the
 * receiver counts what came, in which order and how late. Both ends share one clock: one machine.
 * SIZE is that of the IP packet. The receiver says "ready", ends with its standard input, and both
 * print one JSON object.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

#define BATCH 64
#define FLOWS_MAX 256
#define SIZE_MAX_IP 9000
#define HEADERS 28
#define BUFFER (1 << 20)
#define PAUSE_NS 20000 /* less is not worth a sleep */

struct stamp {
	uint64_t sequence, sent_ns;
	uint32_t flow;
} __attribute__((packed));

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

/* ---- delays --------------------------------------------------------------------------------- */

/* Buckets of 1/32 of a power of two. */
#define SUB_BITS 5
#define BUCKETS ((64 - SUB_BITS) << SUB_BITS)

static uint64_t delays[BUCKETS];

static unsigned bucket_of(uint64_t ns)
{
	unsigned shift;

	if (ns < 1 << SUB_BITS)
		return ns;
	shift = 63 - __builtin_clzll(ns) - SUB_BITS;
	return (shift << SUB_BITS) + (unsigned)(ns >> shift);
}

static uint64_t bucket_top(unsigned b)
{
	unsigned shift = b < 1 << SUB_BITS ? 0 : (b >> SUB_BITS) - 1;
	uint64_t at = b - (shift << SUB_BITS);

	return ((at + 1) << shift) - 1;
}

static double delay_us(double share, uint64_t total)
{
	uint64_t want = (uint64_t)(share * (double)total), seen = 0;

	for (unsigned b = 0; b < BUCKETS; b++) {
		seen += delays[b];
		if (seen > want)
			return (double)bucket_top(b) * 1e-3;
	}
	return 0;
}

/* ---- receiving ------------------------------------------------------------------------------ */

static struct {
	uint64_t received, bytes, reordered, refused, first_ns, last_ns;
	uint64_t next[FLOWS_MAX];
} got;

static void datagram_count(const uint8_t *data, size_t len, uint64_t now)
{
	struct stamp s;

	if (len < sizeof(s)) {
		got.refused++;
		return;
	}
	memcpy(&s, data, sizeof(s));
	if (s.flow >= FLOWS_MAX) {
		got.refused++;
		return;
	}
	if (!got.received++)
		got.first_ns = now;
	got.last_ns = now;
	got.bytes += len + HEADERS;
	got.reordered += s.sequence < got.next[s.flow];
	if (s.sequence >= got.next[s.flow])
		got.next[s.flow] = s.sequence + 1;
	delays[bucket_of(now > s.sent_ns ? now - s.sent_ns : 0)]++;
}

static void batch_receive(int fd)
{
	static uint8_t data[BATCH][SIZE_MAX_IP];
	static struct iovec iov[BATCH];
	static struct mmsghdr messages[BATCH];
	uint64_t now;
	int n;

	for (unsigned i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){.iov_base = data[i], .iov_len = sizeof(data[i])};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
	}
	n = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
	now = clock_ns(CLOCK_MONOTONIC);
	for (int i = 0; i < n; i++)
		datagram_count(data[i], messages[i].msg_len, now);
}

/* What arrived here and found the socket full: the receiver's fault, not the way's. */
static uint32_t socket_dropped(int fd)
{
	uint32_t info[9] = {0};
	socklen_t len = sizeof(info);

	getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len);
	return info[8];
}

static int receive(uint16_t port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_DGRAM, 0), size = BUFFER;
	struct pollfd fds[2] = {
		{.fd = fd, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};

	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		err(1, "bind");
	puts("ready");
	fflush(stdout);
	while (poll(fds, 2, -1) > 0 && (fds[0].revents & POLLIN || !fds[1].revents))
		batch_receive(fd);
	printf("{\"received\": %lu, \"bytes\": %lu, \"seconds\": %.6f, \"reordered\": %lu, "
	       "\"refused\": %lu, \"socket_dropped\": %u, \"cpu_s\": %.6f, \"p50_us\": %.1f, "
	       "\"p99_us\": %.1f, \"p999_us\": %.1f, \"p9999_us\": %.1f}\n",
		got.received, got.bytes, (double)(got.last_ns - got.first_ns) * 1e-9, got.reordered,
		got.refused, socket_dropped(fd), cpu_seconds(), delay_us(.5, got.received),
		delay_us(.99, got.received), delay_us(.999, got.received),
		delay_us(.9999, got.received));
	return 0;
}

/* ---- sending -------------------------------------------------------------------------------- */

struct sender {
	unsigned n_flows, size;
	int fds[FLOWS_MAX];
	uint64_t sequence[FLOWS_MAX];
	uint64_t sent, failed;
};

static void flows_open(struct sender *s, const char *address, uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	int size = BUFFER;

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1)
		errx(1, "%s is no IPv4 address", address);
	for (unsigned i = 0; i < s->n_flows; i++) {
		s->fds[i] = socket(AF_INET, SOCK_DGRAM, 0);
		setsockopt(s->fds[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
		if (connect(s->fds[i], (struct sockaddr *)&to, sizeof(to)) < 0)
			err(1, "connect");
	}
}

static void batch_send(struct sender *s, unsigned flow, unsigned n)
{
	static uint8_t data[BATCH][SIZE_MAX_IP];
	static struct iovec iov[BATCH];
	static struct mmsghdr messages[BATCH];
	struct stamp stamp = {.flow = flow, .sent_ns = clock_ns(CLOCK_MONOTONIC)};
	int taken;

	for (unsigned i = 0; i < n; i++) {
		stamp.sequence = s->sequence[flow]++;
		memcpy(data[i], &stamp, sizeof(stamp));
		iov[i] = (struct iovec){.iov_base = data[i], .iov_len = s->size - HEADERS};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
	}
	taken = sendmmsg(s->fds[flow], messages, n, 0);
	if (taken < 0)
		taken = 0;
	s->sent += (unsigned)taken;
	s->failed += n - (unsigned)taken;
}

static int send_flows(struct sender *s, double rate, double seconds)
{
	uint64_t start = clock_ns(CLOCK_MONOTONIC), end = start + (uint64_t)(seconds * 1e9), now;
	unsigned flow = 0;

	while ((now = clock_ns(CLOCK_MONOTONIC)) < end) {
		uint64_t due = (uint64_t)((double)(now - start) * 1e-9 * rate);
		uint64_t missing = due - (s->sent + s->failed);

		if (!missing) {
			nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
			continue;
		}
		batch_send(s, flow, missing < BATCH ? (unsigned)missing : BATCH);
		flow = (flow + 1) % s->n_flows;
	}
	printf("{\"sent\": %lu, \"failed\": %lu, \"seconds\": %.6f, \"cpu_s\": %.6f}\n", s->sent,
		s->failed, (double)(now - start) * 1e-9, cpu_seconds());
	return 0;
}

int main(int argc, char **argv)
{
	static struct sender s;

	if (argc == 3 && !strcmp(argv[1], "receive"))
		return receive((uint16_t)atoi(argv[2]));
	if (argc != 8 || strcmp(argv[1], "send"))
		errx(2, "udp_flows receive PORT | send ADDRESS PORT RATE SIZE FLOWS SECONDS");
	s.size = (unsigned)atoi(argv[5]);
	s.n_flows = (unsigned)atoi(argv[6]);
	if (s.size < HEADERS + sizeof(struct stamp) || s.size > SIZE_MAX_IP || !s.n_flows ||
		s.n_flows > FLOWS_MAX)
		errx(2, "sizes are %zu to %d, flows 1 to %d", HEADERS + sizeof(struct stamp),
			SIZE_MAX_IP, FLOWS_MAX);
	flows_open(&s, argv[2], (uint16_t)atoi(argv[3]));
	return send_flows(&s, atof(argv[4]), atof(argv[7]));
}
