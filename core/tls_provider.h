/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <openssl/core.h>

#define TLS_PROVIDER "tailplane"

OSSL_provider_init_fn tls_provider;
