/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Which node keys relays serve: those of nodes that are there and not expired, and for a minute the
 * one that a node has just changed. Control loop. */
#include "tailnet.h"

/* Tells the relay in this process which keys are no longer good, and answers it where `provide`. */
void admission_start(struct tailnet *tailnet, bool provide);
void admission_provide(bool provide);
void admission_stop(void);
bool admission_allows(const struct public_key *key);
