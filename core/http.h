/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <tailplane/err.h>
#include <tailplane/metrics.h>
#include <tailplane/net.h>

/*
 * /metrics over HTTP. Changing the address is a reload's two steps: http_prepare takes the new one
 * (which can fail), http_commit serves there and leaves the old one, http_abandon forgets it.
 */

/* "" in `listen` means off. Where nothing changes, nothing is prepared. */
int http_prepare(const char *listen, struct err *err);
void http_commit(void);
void http_abandon(void);
void http_stop(void);
void http_collect(struct metric_sink *sink);
