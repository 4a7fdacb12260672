/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How far apart cores are. What two workers do for one tunnel goes from one's cache to the other's,
 * and the host of a virtual machine may place its cores where they share none, from one minute to
 * the next.
 */
#pragma once

/* After clock_start. The fastest that a cache line goes to the second of the cores that we may use
 * and back, out of a few thousand times; takes a millisecond. 0: there is one core. */
double cores_round_trip_ns(void);
