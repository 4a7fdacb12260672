/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdint.h>

#include <tailplane/log.h>

/* NULL-terminated, in the order of enum log_level: the choices of the setting and the operation. */
extern const char *const log_level_names[];

void log_level_set(enum log_level level);
enum log_level log_level_get(void);

/* From here on a thread writes; before, and after log_thread_stop, whoever logs does. */
void log_thread_start(void);
/* Writes what is queued, for at most two seconds: a stuck terminal doesn't hold the end. */
void log_thread_stop(void);
/* Lines that found the queue full, since the start. */
uint64_t log_lost(void);
