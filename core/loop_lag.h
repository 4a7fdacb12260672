/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <tailplane/loop.h>
#include <tailplane/metrics.h>

/* Begins to watch how long each turn of the loop takes. */
void loop_lag_start(void);
void loop_lag_stop(void);
void loop_lag_collect(struct metric_sink *sink);
