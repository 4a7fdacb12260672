/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * One timer for many connections: a wheel of lists, a tick apart. An entry that is moved further
 * than the wheel reaches, or is due early, is asked again by its owner. No clock: time is an
 * argument.
 */
#include <stdbool.h>
#include <stdint.h>

#define WHEEL_TICK_NS 250000000ull
#define WHEEL_SLOTS 512 /* two minutes */

struct wheel_entry {
	struct wheel_entry *next, **prev; /* prev NULL: in no list */
};

struct wheel {
	struct wheel_entry *slots[WHEEL_SLOTS];
	uint64_t tick; /* the last one that was taken */
	unsigned n;
};

void wheel_init(struct wheel *wheel, uint64_t now);
/* Not before `at`, and at most one tick after; moves an entry that is in. */
void wheel_set(struct wheel *wheel, struct wheel_entry *entry, uint64_t at);
void wheel_remove(struct wheel *wheel, struct wheel_entry *entry);
/* Takes out what is due by `now`, one at a time; NULL: nothing more. */
struct wheel_entry *wheel_next(struct wheel *wheel, uint64_t now);
