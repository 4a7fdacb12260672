/* SPDX-License-Identifier: BSD-3-Clause */
#include "stun.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

#define REQUEST_BYTES 40
#define ANSWER_MAX 128
#define BATCH 64
#define COOKIE 0x2112a442
#define LOOK_S \
	60e-6 /* between two looks for answers; 64 under way keep the relay busy for longer */
#define PATIENCE_S 0.1 /* then what is under way is lost */

struct batch {
	struct mmsghdr messages[BATCH];
	struct iovec parts[BATCH];
	struct sockaddr_storage from[BATCH];
	uint8_t bytes[BATCH][ANSWER_MAX];
};

struct client {
	int fd, interface; /* that counts the answers; -1: they come here */
	uint64_t counted;
	unsigned window, under_way;
	struct batch to, from;
};

static uint32_t crc32(const uint8_t *at, size_t n)
{
	uint32_t crc = ~0u;

	for (size_t i = 0; i < n; i++) {
		crc ^= at[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

/* Header, SOFTWARE "tailnode", FINGERPRINT. `id`: the last bytes of the transaction's. */
static void request_make(uint8_t *at, uint32_t id)
{
	memset(at, 0, REQUEST_BYTES);
	be32_put(at, 0x00010000 | (REQUEST_BYTES - 20));
	be32_put(at + 4, COOKIE);
	be32_put(at + 16, id);
	be32_put(at + 20, 0x80220008);
	memcpy(at + 24, "tailnode", 8);
	be32_put(at + 32, 0x80280004);
	be32_put(at + 36, crc32(at, 32) ^ 0x5354554e);
}

/* Header, XOR-MAPPED-ADDRESS; the echo's answer is the request. */
static void answer_check(const uint8_t *at, unsigned n)
{
	if (n < 32 || be32_get(at + 4) != COOKIE ||
		(be32_get(at) >> 16 == 0x0101) == (n == REQUEST_BYTES))
		errx(1, "an answer of %u bytes that is none", n);
}

static void batch_init(struct batch *b, bool addresses)
{
	memset(b, 0, sizeof(*b));
	for (unsigned i = 0; i < BATCH; i++) {
		b->parts[i] = (struct iovec){b->bytes[i], ANSWER_MAX};
		b->messages[i].msg_hdr = (struct msghdr){
			.msg_iov = &b->parts[i],
			.msg_iovlen = 1,
			.msg_name = addresses ? &b->from[i] : NULL,
			.msg_namelen = addresses ? sizeof(b->from[i]) : 0,
		};
	}
}

/* Where the kernel cuts them, the client is faster than any relay. */
static void send_requests(struct client *c, unsigned n)
{
	struct msghdr all = {.msg_iov = c->to.parts, .msg_iovlen = n};

	if (c->interface < 0 && sendmmsg(c->fd, c->to.messages, n, 0) != (int)n)
		err(1, "sendmmsg");
	if (c->interface >= 0 && n && sendmsg(c->fd, &all, 0) != (ssize_t)n * REQUEST_BYTES)
		err(1, "sendmsg");
}

/* What is there, without waiting for it. */
static unsigned read_answers(int fd, struct batch *b)
{
	int n;

	for (unsigned i = 0; i < BATCH; i++)
		b->parts[i].iov_len = ANSWER_MAX;
	n = recvmmsg(fd, b->messages, BATCH, MSG_DONTWAIT, NULL);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n < 0)
		err(1, "the relay answers no STUN");
	for (int i = 0; i < n; i++)
		answer_check(b->bytes[i], b->messages[i].msg_len);
	return (unsigned)n;
}

/* How many have left since the last look. */
static unsigned count_answers(struct client *c)
{
	char text[32] = "";
	uint64_t before = c->counted;

	if (pread(c->interface, text, sizeof(text) - 1, 0) <= 0)
		err(1, "the interface's counter");
	c->counted = strtoull(text, NULL, 10);
	return (unsigned)(c->counted - before);
}

static double spin_until(double time)
{
	double now;

	do
		now = clock_seconds(CLOCK_MONOTONIC);
	while (now < time);
	return now;
}

static void exchange(struct client *c, double seconds, struct stun_outcome *out)
{
	double start = clock_seconds(CLOCK_MONOTONIC), now = start, heard = start;

	while (now < start + seconds) {
		unsigned got;

		send_requests(c, c->window - c->under_way);
		c->under_way = c->window;
		now = spin_until(c->interface < 0 ? now + LOOK_S : now);
		got = c->interface < 0 ? read_answers(c->fd, &c->from) : count_answers(c);
		c->under_way -= got < c->under_way ? got : c->under_way;
		out->answered += got;
		if (got)
			heard = now;
		if (now < heard + PATIENCE_S)
			continue;
		out->lost += c->under_way;
		c->under_way = 0;
		heard = now;
	}
	out->seconds = now - start;
}

static void count_elsewhere(struct client *c, const char *file)
{
	int size = REQUEST_BYTES;

	c->interface = open(file, O_RDONLY | O_CLOEXEC);
	if (c->interface < 0)
		err(1, "%s", file);
	if (setsockopt(c->fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)) < 0)
		err(1, "UDP_SEGMENT");
	count_answers(c);
}

void stun_run(const struct plan *plan, const struct target *target, struct stun_outcome *out)
{
	static struct client c;
	double relay_cpu;

	c.fd = socket(target->at.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	c.window = plan->window < BATCH ? plan->window : BATCH;
	if (c.fd < 0 || connect(c.fd, (const struct sockaddr *)&target->at, target->at_len) < 0)
		err(1, "UDP");
	c.interface = -1;
	if (plan->answers)
		count_elsewhere(&c, plan->answers);
	batch_init(&c.to, false);
	batch_init(&c.from, false);
	for (unsigned i = 0; i < BATCH; i++) {
		request_make(c.to.bytes[i], i);
		c.to.parts[i].iov_len = REQUEST_BYTES;
	}
	exchange(&c, plan->warm_up, out);
	*out = (struct stun_outcome){0};
	relay_cpu = process_cpu_seconds(plan->relay);
	exchange(&c, plan->seconds, out);
	out->relay_cpu = process_cpu_seconds(plan->relay) - relay_cpu;
	if (c.interface >= 0)
		close(c.interface);
	close(c.fd);
}

void stun_echo(uint16_t port)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_ANY)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), whole = IP_PMTUDISC_PROBE, n;
	static struct batch b;

	if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &whole, sizeof(whole)) < 0 ||
		bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		err(1, "port %u", port);
	puts("ready");
	fflush(stdout);
	batch_init(&b, true);
	for (;;) {
		for (unsigned i = 0; i < BATCH; i++) {
			b.parts[i].iov_len = ANSWER_MAX;
			b.messages[i].msg_hdr.msg_namelen = sizeof(b.from[i]);
		}
		n = recvmmsg(fd, b.messages, BATCH, MSG_WAITFORONE, NULL);
		for (int i = 0; i < n; i++)
			b.parts[i].iov_len = b.messages[i].msg_len;
		if (n > 0)
			sendmmsg(fd, b.messages, (unsigned)n, 0);
	}
}
