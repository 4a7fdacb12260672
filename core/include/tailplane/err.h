/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdarg.h>
#include <stddef.h>

#pragma GCC visibility push(default)

/*
 * A reason, made once at the place that knows it, shown once at the edge (log, CLI, -n).
 * Zero-initialize: `struct err err = {0};`. The first reason wins: what was set stays.
 */
struct err {
	char msg[512];
};

/* Sets the reason if none is set yet and returns `code` (a -errno), so that `return err_set(...)`
 * reads well. `err` may be NULL. */
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#pragma GCC visibility pop
