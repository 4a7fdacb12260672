/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Readies libsodium, once: before it has looked at the processor it runs its slowest code. Any
 * thread. */
void crypto_start(void);
