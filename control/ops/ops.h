/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The commands of the control server: Headscale's tree with its words, flags and fields, and what
 * we add. Control loop.
 */
#include <tailplane/op.h>

#include "tailnet.h"

extern const struct op control_ops[];

/* Between the plugin's start and stop; NULL after. */
void ops_use(struct tailnet *t);
void events_start(struct tailnet *t);
void events_stop(struct tailnet *t);
/* What needs more than the tailnet: ping.c, doctor/doctor.c. */
void run_nodes_ping(struct op_call *call, const json_t *args);
void run_doctor(struct op_call *call, const json_t *args);
