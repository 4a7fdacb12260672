/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Sockets that outlive the process. By way of a service manager: handed to us at start (LISTEN_FDS,
 * as systemd does it for its socket units and for what a service left in its store), and left there
 * by us. Or straight from the process before, which still runs (successor.h). Who connects while
 * nobody accepts waits in the backlog, and is not refused. Control loop.
 */
#include <stddef.h>

#include <tailplane/handover.h>

/* Takes note of what was handed over. First of all that opens descriptors. */
void inherit_init(void);
/* One that listens on `at` (TCP), the caller's from now on; -1: none. */
int inherit_take(const struct net_endpoint *at);
/* Closes what nobody has taken, and says so. */
void inherit_done(void);
/* A successor gets it; leaves a copy with the service manager, where there is one that takes it. */
void inherit_keep(int fd);
/* Neither has a use for it: we no longer listen there. Before the socket is closed. */
void inherit_drop(int fd);

/* ---- between two processes ---- */

/* Descriptors that a process gives its successor beside sockets. */
enum inherit_special {
	INHERIT_LOCK, /* of the state directory */
	INHERIT_CTL,  /* the control socket */
	INHERIT_TALK, /* a socket to the process before: see successor.c */
	INHERIT_SPECIALS,
};

/* The caller's from now on; -1: there is no process before us. */
int inherit_special(enum inherit_special what);
/* What a successor gets, as long as nothing is kept or dropped. */
const int *inherit_kept(size_t *n);
/* "NAME=N", the environment's word to the successor that it finds N sockets. */
#define INHERIT_VARIABLE "TAILPLANE_TAKES_OVER"
#define INHERIT_FIRST 3
