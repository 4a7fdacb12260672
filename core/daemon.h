/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>

/* What the operations of the core ask of the daemon as a whole. Control loop. */

/* As SIGHUP does; the answers as plugins_reload gives them. Logs what came of it. */
int daemon_reload(char **summary, char **errors);
/* Reads the configuration anew, without effect. 0, or -EINVAL with `*errors` (heap) in lines. */
int daemon_check(char **errors);
/* Nanoseconds, as core_now, of the start. */
unsigned long long daemon_since(void);
/* core_shutdown was called. */
bool daemon_is_stopping(void);
/* The level as given by operation; until the next reload that changes the setting. */
void daemon_set_log_level(int level);

/* First of all. `path` of the configuration, NULL: the system's or the embedded one; kept. */
void daemon_init(const char *path);
