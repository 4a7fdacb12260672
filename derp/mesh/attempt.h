/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * One connection to another node of the region, from the first SYN to its end. It lives on an I/O
 * loop; the control loop makes it, is told of it by messages, and frees it.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <tailplane/io.h>

#include "dial.h"
#include "directory.h"
#include "secret.h"
#include "session.h"
#include "table.h"
#include "target.h"

struct mesh_attempt {
	/* written by the control loop before mesh_attempt_begin */
	struct io_loop *loop;
	struct ssl_ctx_st *tls;
	const struct private_key *key; /* of this node; these outlive the attempt */
	const struct public_key *own;
	const struct symmetric_key *mesh_key;
	struct derp_target target;
	/* On the control loop. `up`: at most once, before `ended`. `ended`: once, if it was not
	 * cancelled first; after it the attempt is the control loop's, unless it was cancelled.
	 * `cancelled`: once after mesh_attempt_cancel; then it is the control loop's in any case.
	 */
	void (*up)(struct mesh_attempt *attempt);
	void (*ended)(struct mesh_attempt *attempt);
	void (*cancelled)(struct mesh_attempt *attempt);
	void *node; /* the control loop's */

	/* the I/O loop's; read by the control loop after `up` or `ended` */
	struct public_key server;
	struct net_endpoint address;
	bool self; /* ended: it led to this node itself */
	char why[256];

	/* keys that are there; written by the I/O loop, read for show: relaxed */
	_Atomic uint32_t clients;

	/* the I/O loop's */
	struct derp_dial *dial; /* at most one of these three */
	struct derp_session *session;
	struct derp_link *link;
	ev_timer silence;
	struct table keys; /* of struct public_key: what was told to the directory */
	uint8_t seed[16];
	bool over;

	struct io_message begin_message, up_message, cancel_message, end_message;
};

/* Control loop. */
void mesh_attempt_begin(struct mesh_attempt *attempt);
void mesh_attempt_cancel(struct mesh_attempt *attempt);
