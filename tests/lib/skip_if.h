/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Aloud; the test ends here. */
static inline void skip_if(bool absent, const char *why)
{
	if (!absent)
		return;
	print_message("skipped: %s\n", why);
	skip();
}
