/* SPDX-License-Identifier: BSD-3-Clause */
/* Many connections: how fast they come, what they cost when nothing happens on them. */
#pragma once

#include "peer.h"

/* Opened and closed, by many threads at a time, so that the relay is never without work. */
void crowd_pass(struct target *target, unsigned n);
/* Opened; they live until the process ends. With TLS, nothing of what the relay sends later is
 * understood. */
void crowd_stay(struct target *target, unsigned n);
