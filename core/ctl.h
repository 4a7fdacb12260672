/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <tailplane/err.h>
#include <tailplane/metrics.h>

/* Makes RUNTIME_DIR/ctl.sock, in the place of one that nobody answers; refuses where a daemon does,
 * with its pid. `shared`: that of the process before us, or -1; taken. */
int ctl_start(int shared, struct err *err);
int ctl_fd(void);
/* The process before us answers there no more. */
void ctl_own(void);
/* A successor answers there from now on; who is connected here still gets his answers. */
void ctl_leave(void);
/* Takes the socket away: nobody can connect any more. */
void ctl_close_socket(void);
/* Ends the connections, with what can be written at once. */
void ctl_stop(void);
void ctl_collect(struct metric_sink *sink);
