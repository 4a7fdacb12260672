/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <tailplane/jobs.h>
#include <tailplane/metrics.h>

/* Remembers which cores this thread may use, for the pool: plugins may pin it later. */
void jobs_init(void);
/* Starts `n` threads. They get the capabilities that the caller has: after the drop. */
void jobs_start(unsigned n);
/* Drains, then ends the threads. */
void jobs_stop(void);
void jobs_collect(struct metric_sink *sink);
