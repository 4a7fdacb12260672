/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The control loop's surroundings for files that run on it, with time in the test's hands: what
 * they inject lands in a list, what they retire is freed at once. Goes with packets.h.
 */
#include <ev.h>
#include <stdarg.h>

#include "dataplane.h"
#include "packets.h"

static uint64_t clock_ns = 1000000000000;

uint64_t core_now(void)
{
	return clock_ns;
}

struct ev_loop *core_loop(void)
{
	return ev_default_loop(0);
}

void loop_callback_done(const char *name, uint64_t since)
{
	(void)name, (void)since;
}

#define LOG_TO_STDERR(verb)                \
	void verb(const char *fmt, ...)    \
	{                                  \
		va_list ap;                \
                                           \
		va_start(ap, fmt);         \
		vfprintf(stderr, fmt, ap); \
		va_end(ap);                \
		fputc('\n', stderr);       \
	}

LOG_TO_STDERR(log_warn)
LOG_TO_STDERR(log_warnx)
LOG_TO_STDERR(log_info)

void log_debug(const char *fmt, ...)
{
	(void)fmt;
}

/* ---- what control gives -------------------------------------------------------------------- */

#define INJECTED_MAX 256

static struct rte_mbuf *injected[INJECTED_MAX];
static enum inject_entry injected_at[INJECTED_MAX];
static unsigned n_injected;

uint64_t control_drops[DROPS_MAX];

struct rte_mbuf *control_mbuf_alloc(void)
{
	return rte_mempool_avail_count(pool) ? packet_new("", 0) : NULL;
}

bool control_inject(unsigned id, enum inject_entry entry, struct rte_mbuf *m)
{
	(void)id;
	if (n_injected == INJECTED_MAX)
		errx(1, "more than %d packets injected", INJECTED_MAX);
	injected_at[n_injected] = entry;
	injected[n_injected++] = m;
	return true;
}

static inline void injected_free(void)
{
	rte_pktmbuf_free_bulk(injected, n_injected);
	n_injected = 0;
}

unsigned control_workers(void)
{
	return 1;
}

struct port *control_port(uint16_t index)
{
	return index < PORT_MAX ? table.ports[index] : NULL;
}

static unsigned published;

void control_publish(void)
{
	published++;
}

void control_retire(void *object, void (*free_fn)(void *))
{
	free_fn(object);
}
