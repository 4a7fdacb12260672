/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * What a successor gets: the process that takes over from this one while this one still serves
 * those whom it has (`tailplane restart`). Listening TCP sockets of the front door are among them
 * already. Control loop.
 */
#include "net.h"

#pragma GCC visibility push(default)

/* A UDP socket bound to `at` that the process before us had, the caller's from now on; -1: no more
 * of them. What came to it is still in it. */
int handover_take_udp(const struct net_endpoint *at);
/* A successor gets it too, until handover_remove, which comes before the socket is closed. */
void handover_add(int fd);
void handover_remove(int fd);

/*
 * In the hook hand_over: gives the successor a descriptor, of a socket or a file in memory, by a
 * name of at most 31 characters that begins with the plugin's. The caller keeps, and closes, its
 * own. 0 or -errno. Nobody but the successor gets it, so whatever comes from the other end is of a
 * process of this same daemon.
 */
int handover_give(const char *name, int fd);
/* The same with bytes, in a file of their own. */
int handover_give_bytes(const char *name, const void *bytes, size_t len);
/* What the process before us gives by that name comes to `take`, whose it is then, behind the start
 * hooks and before anybody is accepted. Between start and stop; `take` NULL: no longer. `name`
 * stays the caller's. */
void handover_expect(const char *name, void (*take)(int fd));
/* Those bytes, to be freed, and closes `fd`. NULL: there are more than `max`, or none. */
void *handover_take_bytes(int fd, size_t max, size_t *len);

#pragma GCC visibility pop
