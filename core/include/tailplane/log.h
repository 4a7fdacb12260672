/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#pragma GCC visibility push(default)

/*
 * Four verbs, after OpenBGPD. Any thread but a worker may log: lines go through a bounded queue to
 * a thread of its own, so a stuck terminal or journal never holds the loop (lost lines are counted
 * and said so). Never pass a secret.
 */
enum log_level { LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_warn(const char *fmt, ...)
	__attribute__((format(printf, 1, 2))); /* adds strerror(errno) */
void log_warnx(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Text for the person in front of the terminal (a pasted configuration, a QR code): stdout, as it
 * is, no prefix; never written to a journal or file by the daemon. */
void log_present(const char *text);
/* Only while starting: prints and exits 1. */
_Noreturn void fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void fatalx(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#pragma GCC visibility pop
