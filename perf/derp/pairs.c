/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The frames of a pair lie ready, one behind the other; sending is a stamp in each and one write.
 * Stamp: number (which shows what was lost) and time, both in the payload's first 16 bytes.
 */
#include "pairs.h"

#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

#define STAMP_BYTES 16
#define HEAD_BYTES (FRAME_HEADER + KEY_BYTES + STAMP_BYTES)
#define FLOOD_BYTES (64 << 10)
#define READ_BYTES (256 << 10)
#define SAMPLES_MAX (4u << 20)
#define LOST_AFTER 0.25 /* seconds without a packet while some are under way */

struct stamp {
	uint64_t number, ns;
};
_Static_assert(sizeof(struct stamp) == STAMP_BYTES, "as it is in the payload");

struct pair {
	struct peer from, to;
	uint8_t *frames;
	uint64_t sent, next; /* numbers: of the packet to send, of the one to come */
	double heard;
	bool waits_for_room;
	/* the frame that a read ended in */
	uint8_t head[HEAD_BYTES];
	size_t have, skip;
};

struct run { /* a thread's */
	const struct plan *plan;
	struct target *target;
	pthread_t thread;
	struct outcome out;
	struct pair *pairs;
	unsigned n;
	int epoll;
	size_t frame_bytes;
	unsigned frames; /* that lie ready in each pair */
	uint8_t *buf;
	uint32_t *samples;
	uint64_t received, lost, n_samples;
	uint64_t sent; /* LOAD_RATE: all packets that were due */
	unsigned turn; /* LOAD_RATE */
	double now;
};

double process_cpu_seconds(pid_t pid)
{
	clockid_t clock;

	if (!pid)
		return 0;
	if (clock_getcpuclockid(pid, &clock) != 0)
		errx(1, "process %d has no clock", (int)pid);
	return clock_seconds(clock);
}

/* ---- sending -------------------------------------------------------------------------------- */

static void wait_for_room(struct run *r, struct pair *p, bool wait)
{
	struct epoll_event event = {.events = wait ? EPOLLOUT : 0, .data.ptr = p};

	if (p->waits_for_room == wait)
		return;
	p->waits_for_room = wait;
	if (epoll_ctl(r->epoll, EPOLL_CTL_MOD, p->from.fd, &event) < 0)
		err(1, "epoll_ctl");
}

static void send_frames(struct run *r, struct pair *p, unsigned n)
{
	struct stamp stamp = {.ns = clock_ns(CLOCK_MONOTONIC)};

	for (unsigned i = 0; i < n; i++) {
		stamp.number = p->sent++;
		memcpy(p->frames + i * r->frame_bytes + FRAME_HEADER + KEY_BYTES, &stamp,
			sizeof(stamp));
	}
	peer_write(&p->from, r->target, p->frames, n, r->frame_bytes);
	wait_for_room(r, p, peer_flush(&p->from) > 0);
}

static unsigned room_of(const struct run *r, const struct pair *p)
{
	uint64_t under_way = p->sent - p->next;

	if (r->plan->load == LOAD_FLOOD)
		return r->frames;
	return under_way < r->plan->window ? r->plan->window - (unsigned)under_way : 0;
}

static void fill(struct run *r, struct pair *p)
{
	unsigned n;

	if (r->plan->load == LOAD_RATE || p->waits_for_room)
		return;
	n = room_of(r, p);
	if (n > 0)
		send_frames(r, p, n);
}

/* ---- receiving ------------------------------------------------------------------------------ */

static void packet(struct run *r, struct pair *p, const uint8_t *stamp_at)
{
	struct stamp stamp;

	memcpy(&stamp, stamp_at, sizeof(stamp));
	if (stamp.number < p->next) { /* given up too early */
		r->lost -= r->lost > 0;
	} else {
		r->lost += stamp.number - p->next;
		p->next = stamp.number + 1;
	}
	r->received++;
	if (r->samples && r->n_samples < SAMPLES_MAX)
		r->samples[r->n_samples++] = (uint32_t)(clock_ns(CLOCK_MONOTONIC) - stamp.ns);
}

/* Head complete, or header of a frame of another kind. How much of the frame is behind it. */
static size_t frame_begins(struct run *r, struct pair *p, const uint8_t *head)
{
	uint32_t length = be32_get(head + 1);

	if (head[0] == FRAME_RECV_PACKET) {
		if (length != KEY_BYTES + r->plan->size)
			errx(1, "a packet of %u bytes came", length);
		packet(r, p, head + FRAME_HEADER + KEY_BYTES);
		return FRAME_HEADER + length - HEAD_BYTES;
	}
	return length;
}

static size_t head_bytes(uint8_t type)
{
	return type == FRAME_RECV_PACKET ? HEAD_BYTES : FRAME_HEADER;
}

static void walk(struct run *r, struct pair *p, const uint8_t *at, size_t n)
{
	size_t take, need;

	while (n > 0) {
		if (p->skip > 0) {
			take = n < p->skip ? n : p->skip;
			p->skip -= take;
		} else if (p->have == 0 && n >= HEAD_BYTES) {
			take = head_bytes(at[0]);
			p->skip = frame_begins(r, p, at);
		} else {
			need = head_bytes(p->have ? p->head[0] : at[0]) - p->have;
			take = n < need ? n : need;
			memcpy(p->head + p->have, at, take);
			p->have += take;
			if (take == need) {
				p->skip = frame_begins(r, p, p->head);
				p->have = 0;
			}
		}
		at += take;
		n -= take;
	}
}

static void receive(struct run *r, struct pair *p)
{
	ssize_t n = peer_read(&p->to, r->buf, READ_BYTES);

	if (n < 0)
		errx(1, "the relay ended a connection");
	walk(r, p, r->buf, (size_t)n);
	p->heard = r->now;
	fill(r, p);
}

/* What is under way for so long is lost, or the window would stay closed. */
static void give_up_lost(struct run *r)
{
	for (unsigned i = 0; i < r->n; i++) {
		struct pair *p = &r->pairs[i];

		if (p->waits_for_room || p->sent == p->next || r->now - p->heard < LOST_AFTER)
			continue;
		r->lost += p->sent - p->next;
		p->next = p->sent;
		p->heard = r->now;
		fill(r, p);
	}
}

/* ---- one run -------------------------------------------------------------------------------- */

static void frames_fill(const struct run *r, struct pair *p)
{
	p->frames = malloc(r->frames * r->frame_bytes);
	if (!p->frames)
		err(1, "memory");
	for (unsigned i = 0; i < r->frames; i++)
		memset(frame_head(p->frames + i * r->frame_bytes, FRAME_SEND_PACKET, p->to.public,
			       r->plan->size),
			0x5a, r->plan->size);
}

static void pair_watch(const struct run *r, struct pair *p)
{
	struct epoll_event in = {.events = EPOLLIN, .data.ptr = p};
	struct epoll_event out = {.events = 0, .data.ptr = p};

	if (epoll_ctl(r->epoll, EPOLL_CTL_ADD, p->to.fd, &in) < 0 ||
		epoll_ctl(r->epoll, EPOLL_CTL_ADD, p->from.fd, &out) < 0)
		err(1, "epoll_ctl");
}

/* Thread t has pairs t, t + threads and so on, which lie together. */
static unsigned pairs_before(const struct plan *plan, unsigned thread)
{
	unsigned more = plan->pairs % plan->threads;

	return plan->pairs / plan->threads * thread + (thread < more ? thread : more);
}

static struct pair *pair_at(const struct plan *plan, struct pair *pairs, unsigned number)
{
	return &pairs[pairs_before(plan, number % plan->threads) + number / plan->threads];
}

/* A relay with two loops gives them connections in turn. Of four pairs, two have one end on each,
 * one for either way, and two have both on one: what chance would make of many. */
static void pairs_open(const struct plan *plan, struct target *target, struct pair *pairs)
{
	static const struct {
		uint8_t pair;
		bool to;
	} orders[2][8] = {{{0, false}, {0, true}, {1, true}, {1, false}, {2, false}, {3, false},
				  {2, true}, {3, true}},
		{{0, false}, {0, true}, {1, true}, {1, false}, {2, false}, {2, true}, {3, true},
			{3, false}}};

	for (unsigned i = 0; i < 2 * plan->pairs + 6; i++) {
		unsigned number = i / 8 * 4 + orders[plan->crossing][i % 8].pair;
		struct pair *p;

		if (number >= plan->pairs)
			continue;
		p = pair_at(plan, pairs, number);
		peer_open(orders[plan->crossing][i % 8].to ? &p->to : &p->from, target);
	}
}

static void pair_close(struct pair *p)
{
	peer_close(&p->from);
	peer_close(&p->to);
	free(p->frames);
}

/* The one who receives never waits for room, and of the one who sends nothing is read. */
static void event(struct run *r, const struct epoll_event *event)
{
	struct pair *p = event->data.ptr;

	if (event->events & EPOLLIN) {
		receive(r, p);
	} else if (peer_flush(&p->from) == 0) {
		wait_for_room(r, p, false);
		fill(r, p);
	}
}

/* One packet of each pair in turn; several at once where the thread is behind. */
static void send_due(struct run *r, double since)
{
	uint64_t due = (uint64_t)(since * r->plan->rate);

	while (r->sent < due) {
		struct pair *p = &r->pairs[r->turn++ % r->n];
		uint64_t n = (due - r->sent + r->n - 1) / r->n;

		if (n > r->frames)
			n = r->frames;
		if (p->waits_for_room) /* that is late enough to be lost */
			p->sent += n;
		else
			send_frames(r, p, (unsigned)n);
		r->sent += n;
	}
}

static void go_on(struct run *r, double seconds)
{
	struct epoll_event events[64];
	double start = (double)clock_ns(CLOCK_MONOTONIC) / 1e9, checked = start;
	int n, wait = r->plan->load == LOAD_RATE ? 0 : 50;

	r->sent = 0;
	for (r->now = start; r->now < start + seconds;
		r->now = (double)clock_ns(CLOCK_MONOTONIC) / 1e9) {
		if (r->plan->load == LOAD_RATE)
			send_due(r, r->now - start);
		n = epoll_wait(r->epoll, events, 64, wait);
		if (n < 0 && errno != EINTR)
			err(1, "epoll_wait");
		for (int i = 0; i < n; i++)
			event(r, &events[i]);
		if (r->plan->load == LOAD_WINDOW && r->now - checked > LOST_AFTER) {
			give_up_lost(r);
			checked = r->now;
		}
	}
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void latency(struct run *r, struct outcome *out)
{
	uint64_t n = r->n_samples;

	if (!r->samples || n == 0)
		return;
	qsort(r->samples, n, sizeof(*r->samples), by_value);
	out->p50_us = r->samples[n / 2] / 1e3;
	out->p99_us = r->samples[n * 99 / 100] / 1e3;
	out->max_us = r->samples[n - 1] / 1e3;
}

static void measure(struct run *r, struct outcome *out)
{
	double wall, relay, own;
	uint64_t sent = 0;

	go_on(r, r->plan->warm_up);
	r->received = r->lost = r->n_samples = 0;
	for (unsigned i = 0; i < r->n; i++)
		sent -= r->pairs[i].sent;
	wall = (double)clock_ns(CLOCK_MONOTONIC) / 1e9;
	relay = process_cpu_seconds(r->plan->relay);
	own = clock_seconds(CLOCK_THREAD_CPUTIME_ID);
	go_on(r, r->plan->seconds);
	out->relay_cpu = process_cpu_seconds(r->plan->relay) - relay;
	out->own_cpu = clock_seconds(CLOCK_THREAD_CPUTIME_ID) - own;
	out->seconds = (double)clock_ns(CLOCK_MONOTONIC) / 1e9 - wall;
	for (unsigned i = 0; i < r->n; i++)
		sent += r->pairs[i].sent;
	out->sent = sent;
	out->received = r->received;
	out->lost = r->lost;
	out->bytes = r->received * r->plan->size;
	latency(r, out);
}

/* ---- threads -------------------------------------------------------------------------------- */

static void *thread_run(void *arg)
{
	struct run *r = arg;

	for (unsigned i = 0; i < r->n; i++)
		fill(r, &r->pairs[i]);
	measure(r, &r->out);
	return NULL;
}

static void run_init(struct run *r, struct pair *pairs, unsigned n)
{
	const struct plan *plan = r->plan;

	r->pairs = pairs;
	r->n = n;
	r->epoll = epoll_create1(EPOLL_CLOEXEC);
	r->frame_bytes = FRAME_HEADER + KEY_BYTES + plan->size;
	r->frames = plan->load == LOAD_FLOOD ? (unsigned)(FLOOD_BYTES / r->frame_bytes) + 1
					     : plan->window;
	r->buf = malloc(READ_BYTES);
	if (plan->load == LOAD_RATE)
		r->samples = malloc(SAMPLES_MAX * sizeof(*r->samples));
	if (r->epoll < 0 || !r->buf)
		err(1, "memory");
	for (unsigned i = 0; i < r->n; i++) {
		frames_fill(r, &r->pairs[i]);
		pair_watch(r, &r->pairs[i]);
	}
}

static void run_fini(struct run *r)
{
	for (unsigned i = 0; i < r->n; i++)
		pair_close(&r->pairs[i]);
	free(r->buf);
	free(r->samples);
	close(r->epoll);
}

static void outcome_add(struct outcome *to, const struct outcome *more)
{
	to->own_cpu += more->own_cpu;
	to->sent += more->sent;
	to->received += more->received;
	to->lost += more->lost;
	to->bytes += more->bytes;
}

/* The calling thread is the first; it counts the relay's time for all. */
static void runs_run(struct run *runs, unsigned n, struct outcome *out)
{
	for (unsigned i = 1; i < n; i++)
		if (pthread_create(&runs[i].thread, NULL, thread_run, &runs[i]) != 0)
			errx(1, "a thread");
	thread_run(&runs[0]);
	*out = runs[0].out;
	for (unsigned i = 1; i < n; i++) {
		pthread_join(runs[i].thread, NULL);
		outcome_add(out, &runs[i].out);
	}
}

void pairs_run(const struct plan *plan, struct target *target, struct outcome *out)
{
	struct pair *pairs = calloc(plan->pairs, sizeof(*pairs));
	struct run *runs = calloc(plan->threads, sizeof(*runs));

	if (!pairs || !runs)
		err(1, "memory");
	if (plan->load == LOAD_RATE && plan->threads > 1)
		errx(2, "a rate is one thread's");
	pairs_open(plan, target, pairs);
	for (unsigned i = 0; i < plan->threads; i++) {
		unsigned first = pairs_before(plan, i);

		runs[i] = (struct run){.plan = plan, .target = target};
		run_init(&runs[i], pairs + first, pairs_before(plan, i + 1) - first);
	}
	runs_run(runs, plan->threads, out);
	for (unsigned i = 0; i < plan->threads; i++)
		run_fini(&runs[i]);
	free(runs);
	free(pairs);
}
