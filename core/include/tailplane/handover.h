/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Sockets that a successor gets: the process that takes over from this one while this one still
 * serves those whom it has (`tailplane restart`). Listening TCP sockets of the front door are among
 * them already. Control loop.
 */
#include "net.h"

#pragma GCC visibility push(default)

/* A UDP socket bound to `at` that the process before us had, the caller's from now on; -1: no more
 * of them. What came to it is still in it. */
int handover_take_udp(const struct net_endpoint *at);
/* A successor gets it too, until handover_remove, which comes before the socket is closed. */
void handover_add(int fd);
void handover_remove(int fd);

#pragma GCC visibility pop
