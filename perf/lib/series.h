/* SPDX-License-Identifier: BSD-3-Clause */
/* The repetitions of one measurement. */
#pragma once

#define SERIES_MAX 99

struct series {
	double at[SERIES_MAX]; /* in the order measured */
	unsigned n;
};

struct spread {
	double median, min, max;
};

/* Silently full: the caller bounds its repetitions by SERIES_MAX. */
void series_add(struct series *series, double value);
struct spread series_spread(const struct series *series);
/* Repetition by repetition a / b, which a machine that changes its pace disturbs least. */
struct spread series_ratio(const struct series *a, const struct series *b);
