/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stddef.h>

#include <tailplane/metrics.h>

/* Text of a scrape in the making. */
struct metric_sink *metric_sink_new(void);
/* The text, heap, NUL-terminated; the sink is gone. NULL when there was no memory for it. */
char *metric_sink_finish(struct metric_sink *sink, size_t *len);

/* The process: memory, processor time, descriptors by kind, and the build. */
void metrics_process_collect(struct metric_sink *sink);
/* Everything: the core's own and each running plugin's. Heap; NULL without memory. */
char *metrics_scrape(size_t *len);
