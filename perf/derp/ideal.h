/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is left of a relay when it trusts its clients and does nothing but carry: it reads, rewrites
 * type and key in place, and writes what lies together with one call. It shows how far the
 * generator and the kernel go, and so what a relay could reach.
 */
#pragma once

#include <stdint.h>

/* Says "ready" on standard output when it listens; ends with the process. `certificate`: PEM of
 * certificate and key, or NULL for plain. */
void ideal_serve(uint16_t port, const char *certificate);
