/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>

#include <tailplane/op.h>

/* How fast the counters of a watched table grow. */
struct rates {
	json_t *rows;              /* of the last time, by what they are about */
	double at;                 /* when that was, s */
	struct op_column *columns; /* declared, and a rate behind each counter */
};

/* The columns to show: `declared`, which must stay, and a rate behind each counter. NULL when there
 * are no counters. */
const struct op_column *rates_columns(struct rates *rates, const struct op_column *declared);
/* Adds to each row how much its counters have grown per second since the last call; `now` is in
 * seconds. A row that is new, or whose counters were set back, gets none. */
void rates_add(struct rates *rates, json_t *rows, double now);
void rates_free(struct rates *rates);
