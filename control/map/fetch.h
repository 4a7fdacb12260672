/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* HTTP downloads without blocking: libcurl's multi interface on the control loop. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fetch;

/* `body` NULL: it failed, `why` says how. On the loop, never before this returns; after it the
 * fetch is gone. */
typedef void (*fetch_done_fn)(void *arg, const char *body, size_t len, const char *why);
struct fetch *fetch_start(const char *url, size_t max, fetch_done_fn done, void *arg);

/* For a look at a server: what it answers at that place, whatever the status is; redirects are not
 * followed and no proxy is used. */
struct fetch_look {
	const char *url;
	const char *connect_to; /* address in the place of the URL's host; NULL: as it resolves */
	bool untrusted;         /* any certificate will do */
	long timeout_ms;
};
struct fetch *fetch_look(const struct fetch_look *look, fetch_done_fn done, void *arg);
/* What such a look saw; within `done` only. */
struct fetch_seen {
	long status;
	bool distrusted; /* failed for the server's certificate alone */
	int64_t date;    /* that the server told, Unix s; 0: none */
	int64_t expires; /* its certificate, Unix s; 0: none */
	char address[48];
};
void fetch_seen(const struct fetch *fetch, struct fetch_seen *seen);
/* `done` is not called. */
void fetch_cancel(struct fetch *fetch);
