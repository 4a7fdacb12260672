/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs on any thread: an `err` belongs to its caller. */
#include <tailplane/err.h>

#include <stdio.h>

int err_set(struct err *err, int code, const char *fmt, ...)
{
	va_list args;

	if (!err || err->msg[0])
		return code;

	va_start(args, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, args);
	va_end(args);
	return code;
}
