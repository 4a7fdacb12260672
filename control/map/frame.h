/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* zstd frames for map messages, at the fastest level: each is complete by itself, so that a message
 * can be a row of them. Control loop. */
#include <stddef.h>

#include "rpc.h"

/* NULL without memory. */
struct blob *frame_make(const char *text, size_t len);
void frames_fini(void);
