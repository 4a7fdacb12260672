/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <tailplane/metrics.h>

/* The relay's figures under names of ours, and under derper's for dashboards that know those. The
 * latter have no unit and no _total. Control loop. */
void derp_metrics_collect(struct metric_sink *sink);
