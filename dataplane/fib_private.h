/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Inside of the FIB: shared by fib.c (routes) and fib_address.c (addresses). */
#include "fib.h"

/* Control loop: frees after a grace period of the FIB's readers. */
void fib_retire(struct fib *fib, void *object, void (*free_fn)(void *));
/* Forgets the addresses of a port or tunnel. */
void fib_sources_flush(struct fib *fib, uint16_t port, uint32_t tunnel);
