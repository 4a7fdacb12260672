/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <tailplane/op.h>

/* The command `derp probe`: what derp/client/probe.h does to a relay. Control loop. */
extern const struct op_column probe_columns[];
void probe_run(struct op_call *call, const json_t *args);
/* Fails those under way. */
void probe_stop(void);
