/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* HTTP downloads without blocking: libcurl's multi interface on the control loop. */
#include <stddef.h>

struct fetch;

/* `body` NULL: it failed, `why` says how. On the loop, never before this returns; after it the
 * fetch is gone. */
typedef void (*fetch_done_fn)(void *arg, const char *body, size_t len, const char *why);
struct fetch *fetch_start(const char *url, size_t max, fetch_done_fn done, void *arg);
/* `done` is not called. */
void fetch_cancel(struct fetch *fetch);
