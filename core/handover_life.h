/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The core's side of handover.h: see handover.c. Control loop. */

/* Around the plugins' hand_over hooks; `fd` is the socket whose other end the successor has. */
void handover_begin(int fd);
void handover_end(void);
/* Before the loop runs: whatever the process before gives, until it says that this was all, or has
 * ended. Waits for it, ten seconds at most: it does nothing else in between. */
void handover_await(int from);
