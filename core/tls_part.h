/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

/* Whether a part of TLS is ours in this process. */
struct tls_part {
	bool known;          /* false: nobody has asked for it yet */
	const char *why_not; /* NULL: it is ours */
};

#define TLS_FIPS "OpenSSL is configured for FIPS"
