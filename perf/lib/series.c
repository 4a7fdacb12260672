/* SPDX-License-Identifier: BSD-3-Clause */
#include "series.h"

#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void series_add(struct series *series, double value)
{
	if (series->n < SERIES_MAX)
		series->at[series->n++] = value;
}

struct spread series_spread(const struct series *series)
{
	struct series sorted = *series;
	unsigned n = sorted.n;

	if (n == 0)
		return (struct spread){0};
	qsort(sorted.at, n, sizeof(sorted.at[0]), compare);
	return (struct spread){
		.median = (sorted.at[(n - 1) / 2] + sorted.at[n / 2]) / 2,
		.min = sorted.at[0],
		.max = sorted.at[n - 1],
	};
}

struct spread series_ratio(const struct series *a, const struct series *b)
{
	struct series ratios = {.n = 0};

	for (unsigned i = 0; i < a->n && i < b->n; i++)
		series_add(&ratios, a->at[i] / b->at[i]);
	return series_spread(&ratios);
}
