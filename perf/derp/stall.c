/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The relay's close is seen by the sender: it once got a packet from the one who stalls, so it is
 * told that this one is gone. What the kernel holds is in /proc/net/tcp.
 */
#include "clock.h"
#include "stall.h"

#include <arpa/inet.h>
#include <err.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SIZE 1400
#define READ_BYTES (2 * TLS_RECORD_MAX)
#define PER_TICK 20
#define TICK_NS 1000000
#define FRAME_BYTES (FRAME_HEADER + KEY_BYTES + SIZE)

struct stall {
	struct target *target;
	struct stall_outcome *out;
	struct peer sender, stalled;
	uint16_t relay_port, stalled_port;
	atomic_bool done;
};

static uint16_t port_of(const struct sockaddr_storage *at)
{
	return ntohs(((const struct sockaddr_in *)at)->sin_port);
}

static void tick(void)
{
	nanosleep(&(struct timespec){.tv_nsec = TICK_NS}, NULL);
}

/* Whether `key`'s PeerGone is in what came. Frames here come whole: nothing else is sent to it. */
static bool is_gone(struct stall *s)
{
	uint8_t buf[READ_BYTES];
	ssize_t n = peer_read(&s->sender, buf, sizeof(buf));

	if (n < 0)
		errx(1, "the relay closes the sender");
	return n > FRAME_HEADER + KEY_BYTES &&
	       memmem(buf, (size_t)n, s->stalled.public, KEY_BYTES) && buf[0] == FRAME_PEER_GONE;
}

/* What the relay's socket to the one who stalls still has to send. */
static uint64_t hidden(const struct stall *s)
{
	FILE *table = fopen("/proc/net/tcp", "r");
	unsigned local, remote;
	unsigned long queued, found = 0;
	char line[256];

	while (table && fgets(line, sizeof(line), table))
		if (sscanf(line, " %*u: %*8x:%x %*8x:%x %*x %lx:", &local, &remote, &queued) == 3 &&
			local == s->relay_port && remote == s->stalled_port)
			found = queued;
	if (table)
		fclose(table);
	return found;
}

static void *push(void *arg)
{
	static uint8_t frames[PER_TICK * FRAME_BYTES];
	struct stall *s = arg;
	double start = clock_seconds(CLOCK_MONOTONIC);
	uint64_t held;
	bool busy = false;

	for (unsigned i = 0; i < PER_TICK; i++)
		frame_head(frames + i * FRAME_BYTES, FRAME_SEND_PACKET, s->stalled.public, SIZE);
	for (unsigned ticks = 0; !s->done; ticks++) {
		if (!busy)
			peer_write(&s->sender, s->target, frames, PER_TICK, FRAME_BYTES);
		busy = peer_flush(&s->sender) > 0;
		if (ticks % 16 == 0 && (held = hidden(s)) > s->out->hidden_bytes)
			s->out->hidden_bytes = held;
		if (s->out->closed_after == 0 && is_gone(s))
			s->out->closed_after = clock_seconds(CLOCK_MONOTONIC) - start;
		tick();
	}
	return NULL;
}

/* The one who stalls is heard of once, by the sender. */
static void introduce(struct stall *s)
{
	uint8_t frame[FRAME_HEADER + KEY_BYTES + 64] = {0}, buf[READ_BYTES];
	ssize_t n;

	frame_head(frame, FRAME_SEND_PACKET, s->sender.public, 64);
	peer_write(&s->stalled, s->target, frame, 1, sizeof(frame));
	peer_flush(&s->stalled);
	while ((n = peer_read(&s->sender, buf, sizeof(buf))) == 0)
		tick();
	if (n != sizeof(frame) || buf[0] != FRAME_RECV_PACKET)
		errx(1, "the relay carries no first packet");
}

void stall_run(struct target *target, double seconds, pid_t relay, struct stall_outcome *out)
{
	struct plan plan = {.load = LOAD_RATE,
		.pairs = 1,
		.size = SIZE,
		.window = 24,
		.threads = 1,
		.rate = 500,
		.seconds = 2,
		.warm_up = 0.2,
		.relay = relay};
	struct stall s = {.target = target, .out = out, .relay_port = port_of(&target->at)};
	struct sockaddr_storage own;
	socklen_t len = sizeof(own);
	pthread_t thread;

	pairs_run(&plan, target, &out->before);
	peer_open(&s.sender, target);
	peer_open(&s.stalled, target);
	getsockname(s.stalled.fd, (struct sockaddr *)&own, &len);
	s.stalled_port = port_of(&own);
	introduce(&s);
	if (pthread_create(&thread, NULL, push, &s) != 0)
		errx(1, "a thread");
	plan.seconds = seconds;
	pairs_run(&plan, target, &out->during);
	s.done = true;
	pthread_join(thread, NULL);
	peer_close(&s.sender);
	peer_close(&s.stalled);
}
