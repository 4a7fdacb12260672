/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* To systemd, where NOTIFY_SOCKET says that it listens; nothing elsewhere. Control loop. */
void notify_ready(void);
void notify_reloading(void);
void notify_stopping(void);
/* That process is the service from now on. */
void notify_main(int pid);
/* Says that the loop turns, twice in the time that WATCHDOG_USEC gives it. */
void notify_watchdog_start(void);
void notify_watchdog_stop(void);
/* Any state, with a descriptor that goes along; -1: none. */
void notify_with(const char *text, int fd);
