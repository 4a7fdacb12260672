/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <tailplane/io.h>
#include <tailplane/metrics.h>

/* Readies the control loop for messages, and remembers which cores this thread may use: plugins may
 * pin it later. */
void io_init(void);
/* Starts `n` loops on threads. They get the capabilities that the caller has: after the drop. */
void io_start(unsigned n);
/* Ends the threads, then runs what they posted. */
void io_stop(void);
void io_collect(struct metric_sink *sink);
