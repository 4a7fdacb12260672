/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <ev.h>

#include "net.h"

#pragma GCC visibility push(default)

/*
 * I/O loops: libev loops on threads of their own, for connections whose traffic must not delay the
 * control loop. They run from before the plugins' start hooks to after their stop hooks. What lives
 * on one is touched on its thread alone; the rest comes by message.
 *
 * LOOP_CALLBACK is for the control loop; watchers of an I/O loop have plain callbacks.
 */
struct io_loop;

unsigned io_loop_count(void);
struct io_loop *io_loop_at(unsigned i);
/* The loop of this thread; NULL on a thread that has none (a job, a worker). */
struct io_loop *io_loop_here(void);
/* The control loop, as one to post to. */
struct io_loop *io_loop_control(void);
/* For watchers, on the loop's own thread. */
struct ev_loop *io_loop_ev(struct io_loop *loop);
unsigned io_loop_index(const struct io_loop *loop); /* of io_loop_at */

/*
 * A message is embedded in what it is about; it is the receiver's from io_post on, and `run` may
 * free it. Messages of one thread to one loop keep their order. Any thread; never blocks.
 */
struct io_message {
	void (*run)(struct io_message *message);
	struct io_message *next; /* the queue's */
};

void io_post(struct io_loop *to, struct io_message *message);

/* Runs `fn` on each I/O loop, one after the other, and waits for it. Control loop only; for hooks
 * of start and stop, and reload: what it does must be short. */
void io_on_each(void (*fn)(void *arg), void *arg);
/* Until what was posted so far has run: on the I/O loops, then what they posted to the control
 * loop. Control loop only; for stop hooks. */
void io_flush(void);

/*
 * A connection as bytes both ways, TLS or not. Nonblocking, bound to no loop: owned by whoever
 * holds it, who also has the watchers on `fd`.
 */
struct io_stream {
	int fd;
	struct ssl_st *tls;       /* NULL: plain */
	struct net_endpoint from; /* the far end; that which a trusted proxy names, if one does */
	uint8_t *early;           /* bytes that were read ahead */
	size_t early_len, early_at;
};

/* Bytes read; 0: the far end closed; -EAGAIN: nothing now; else broken. Read until -EAGAIN or a
 * short answer: TLS may hold bytes that poll does not show. */
ssize_t io_stream_read(struct io_stream *stream, void *buf, size_t len);
/* Bytes written, perhaps fewer (TLS: one record a call); -EAGAIN: none now; else broken. After
 * -EAGAIN the next write begins with the same bytes, at least as many. */
ssize_t io_stream_writev(struct io_stream *stream, const struct iovec *iov, int n);
/* Closes at once; what TLS says at the end is tried, not waited for. */
void io_stream_close(struct io_stream *stream);

#pragma GCC visibility pop
