/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* One connection to a relay, from behind its HTTP head to its end. Thread of its loop. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <ev.h>

#include "dial.h"
#include "frame.h"
#include "info.h"
#include "secret.h"

struct derp_session;

/* The session may be closed in any of them. */
struct derp_session_ops {
	void (*up)(void *user);
	/* Frames that the session does not answer itself. */
	void (*frame)(void *user, const struct derp_frame *frame);
	/* It is to be closed. */
	void (*down)(void *user, int error, const char *why);
};

struct derp_session_conf {
	struct ev_loop *loop;
	const struct derp_dialled *dialled;
	const struct private_key *key;       /* stays the caller's, until it is up */
	const struct derp_client_info *info; /* copied; the caller zeroes its own */
	const struct derp_session_ops *ops;
	void *user;
	uint64_t greet_timeout_ns; /* until it is up */
};

/* Takes the stream. NULL: no memory; then it stays the caller's. */
struct derp_session *derp_session_open(const struct derp_session_conf *conf);
void derp_session_close(struct derp_session *session);
/* Closes it, but for the connection: that is the caller's, with what was read ahead in it. While it
 * is up and nothing waits to be sent. */
struct io_stream *derp_session_detach(struct derp_session *session);

/*
 * A frame of these parts behind one another; goes out before the loop sleeps. Before `up` too, once
 * the client's info is on its way: -ENOTCONN before that. -EAGAIN: the relay takes less than this.
 */
int derp_session_send(struct derp_session *session, enum derp_frame_type type,
	const struct iovec *parts, unsigned n);
/* Whether the relay's limit, if it told one, allows a frame with `len` bytes; counts them. */
bool derp_session_allows(struct derp_session *session, size_t len);

const struct public_key *derp_session_server(const struct derp_session *session);
const struct derp_server_info *derp_session_info(const struct derp_session *session);
const struct io_stream *derp_session_stream(const struct derp_session *session);
bool derp_session_is_up(const struct derp_session *session);
