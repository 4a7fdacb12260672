/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Whether the relay works: every few seconds a client of our own connects to it by TCP, TLS and
 * DERP. STUN speaks only while that works, since clients choose a relay by STUN and then cannot
 * leave one whose TLS is broken. Control loop, unless said.
 */
#include <stdbool.h>

#include <tailplane/err.h>

#include "secret.h"

int health_start(struct err *err);
void health_stop(void);
/* No more looks: what the last one said stays. */
void health_rest(void);
/* Nobody is taken any more: STUN is silent, so that nobody chooses this relay. */
void health_drained(void);
/* NULL: it works; else why not, or that nobody has looked yet. */
const char *health_problem(void);
/* Whether this is the key of that client, or of a probe by hand: they are always welcome.
 * Any thread, while started. */
bool health_is_key(const struct public_key *key);
const struct private_key *health_probe_key(void);
struct ssl_ctx_st *health_tls(void); /* that knows no authorities */
