/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include "bursts.h"
#include "series.h"

/* One condition and, method by method, what was measured under it. */
struct row {
	struct point point;
	double bytes; /* mean text */
	struct series ns[METHODS_MAX], core_ghz[METHODS_MAX];
};

void report_text(const struct row *rows, unsigned n);
/* One JSON object on standard output. */
void report_json(const struct row *rows, unsigned n);
