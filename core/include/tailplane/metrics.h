/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdint.h>

#pragma GCC visibility push(default)

/* What one scrape fills; OpenMetrics/Prometheus text is made from it. */
struct metric_sink;

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric {
	const char *name; /* tailplane_..., with unit suffix; counters end in _total */
	enum metric_type type;
	const char *help;
};

struct metric_label {
	const char *name, *value; /* value is escaped by the sink */
};

/* Adds a sample. Samples of one metric must be added one after the other. */
void metric_add(struct metric_sink *sink, const struct metric *metric,
	const struct metric_label *labels, unsigned n_labels, double value);

/*
 * Adds a histogram (METRIC_HISTOGRAM): `counts[i]` observations were above bounds[i - 1] and up to
 * bounds[i] (ascending), counts[n_bounds] above them all; `sum` of all observed values.
 */
void metric_histogram(struct metric_sink *sink, const struct metric *metric,
	const struct metric_label *labels, unsigned n_labels, const double *bounds,
	const uint64_t *counts, unsigned n_bounds, double sum);

#pragma GCC visibility pop
