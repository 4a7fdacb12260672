/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <tailplane/err.h>
#include <tailplane/metrics.h>

/* Makes RUNTIME_DIR/ctl.sock, in the place of one that nobody answers; refuses where a daemon does,
 * with its pid. */
int ctl_start(struct err *err);
/* Takes the socket away: nobody can connect any more. */
void ctl_close_socket(void);
/* Ends the connections, with what can be written at once. */
void ctl_stop(void);
void ctl_collect(struct metric_sink *sink);
