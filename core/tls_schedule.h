/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <openssl/core.h>

/* TLS13-KDF of a provider: the key schedule. */
extern const OSSL_DISPATCH tls_schedule_functions[];
