/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Listening sockets that outlive the process: handed to us at start (LISTEN_FDS, as systemd does it
 * for its socket units and for what a service left in its store), and left there by us. Who
 * connects while nobody accepts waits in the backlog, and is not refused. Control loop.
 */
#include <tailplane/net.h>

/* Takes note of what was handed over. First of all that opens descriptors. */
void inherit_init(void);
/* One that listens on `at` (TCP), the caller's from now on; -1: none. */
int inherit_take(const struct net_endpoint *at);
/* Closes what nobody has taken, and says so. */
void inherit_done(void);
/* Leaves a copy with the service manager, where there is one that takes it. */
void inherit_keep(int fd);
/* Has the manager close its copy: we no longer listen there. Before the socket is closed. */
void inherit_drop(int fd);
