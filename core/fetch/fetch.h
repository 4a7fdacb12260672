/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * HTTP without blocking, by libcurl on the control loop: a request has one bounded answer and one
 * deadline. Names are resolved by libcurl's own threads. A library, linked by each plugin that
 * fetches: the daemon has no libcurl.
 *
 * Only http and https are spoken, also after a redirect. Authorities of TLS are the system's, or
 * those of SSL_CERT_FILE, as the clients' own library has it; a job reads them, and again when they
 * are a minute old. Proxies are those of the environment.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Requests that share connections, and end together. */
struct fetcher;
struct fetch;

/* NULL: no memory. */
struct fetcher *fetcher_new(void);
/* Cancels its fetches. May be called within a `done`. */
void fetcher_free(struct fetcher *fetcher);

/* All of it is copied. */
struct fetch_request {
	const char *url;
	const char *json;       /* POSTed; NULL: a GET */
	const char *connect_to; /* address in the place of the URL's host; NULL: as it resolves */
	size_t max;             /* bytes of the answer's body; a longer one is a problem */
	long timeout_ms;        /* once authorities are read, with look-up and redirects */
	bool follow;            /* five redirects at most; else a redirect is the answer */
	bool any_status;        /* is an answer; else those from 400 on are problems */
	bool keep;              /* its connection is one for more than this request */
	bool no_proxy;
	bool untrusted; /* any certificate will do */
	bool expiry;    /* of the certificate is told */
};

struct fetch_answer {
	const char *problem; /* for people; NULL: it came whole */
	const char *body;    /* with a zero byte behind it; NULL: a problem */
	size_t len;
	long status;     /* 0: none came */
	bool distrusted; /* the problem is the server's certificate alone */
	int64_t date;    /* that the server told, Unix s; 0: none */
	int64_t expires; /* its certificate, Unix s; 0: none, or not asked for */
	char address[48];
};

/* On the control loop, never before fetch_start returned. The fetch is gone; the answer is there
 * until this returns. */
typedef void (*fetch_done_fn)(void *arg, const struct fetch_answer *answer);

/* NULL: no memory. */
struct fetch *fetch_start(struct fetcher *fetcher, const struct fetch_request *request,
	fetch_done_fn done, void *arg);
/* `done` is not called. */
void fetch_cancel(struct fetch *fetch);
