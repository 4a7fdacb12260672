/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The data plane as the daemon runs it, without the daemon: the plugin's own hooks, Ethernet side,
 * one tunnel over ports, peers with sessions as after a handshake. The two ports are those of
 * traffic.h. Main thread, which is the control loop.
 */
#include <jansson.h>

#include "traffic.h"

/* Ends the program with a message when something cannot be had. */
void gateway_start(unsigned workers, uint32_t max_peers, unsigned ring);
void gateway_stop(void);
/* So many peers, each with a fresh session; only ever more of them until gateway_stop. */
void gateway_peers(uint32_t n);
/* The first of them have a private key that is known here: they can make handshakes. */
#define GATEWAY_INITIATORS 512
struct private_key gateway_initiator_key(uint32_t number);
/* Runs the control loop for a moment, for what workers have told it. */
void gateway_loop(void);
/* Rows of `tailplane graph`. */
json_t *gateway_graph(void);
/* Rows of losses: name and count. */
json_t *gateway_drops(void);
/* Workers poll all the time, or sleep when idle: then they leave the cores to the set-up. */
void gateway_busy(bool busy);
