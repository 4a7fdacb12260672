/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "io.h"
#include "net.h"

#pragma GCC visibility push(default)

/*
 * The front door: the daemon's one HTTP server (settings core.http). Plugins add routes in start
 * and remove them in stop. A request is served on the I/O loop of its connection, or on the control
 * loop where the route says so.
 */

/* One HTTP/1 request, arrived whole. Belongs to the handler until front_reply or front_upgrade. */
struct front_request;

enum front_flag {
	FRONT_ON_CONTROL = 1 << 0, /* `serve` is called on the control loop */
	FRONT_PREFIX = 1 << 1,     /* `path` ends in '/': also everything below it */
	/* Served on the listener without TLS too, where TLS is on; others are sent to https. */
	FRONT_PLAIN = 1 << 2,
	FRONT_METRICS = 1 << 3, /* on the listener for metrics, not on the public ones */
};

struct front_route {
	/* Separated by spaces: "GET POST"; GET serves HEAD too. Other methods get 405. */
	const char *methods;
	const char *path;
	/* NULL, or the token of the Upgrade header, in lower case. Of two routes for a path the one
	 * whose token the request names goes first; an empty token takes what no other does. */
	const char *upgrade;
	unsigned flags;
	uint32_t body_max; /* bytes; more get 413 */
	void (*serve)(struct front_request *request, void *user);
	void *user;
};

/* Control loop, start hooks. The route is copied, its texts are not. -EEXIST: two of the same. */
int front_route_add(const struct front_route *route, struct err *err);
/* All routes of `user`. Control loop, stop hooks. No handler of them runs after it; requests that
 * handlers still hold must have been answered before. */
void front_routes_remove(const void *user);

/* ---- a request; texts and body are valid until it is answered ---- */

const char *front_method(const struct front_request *request);
const char *front_path(const struct front_request *request);  /* without the query, as sent */
const char *front_query(const struct front_request *request); /* "" if none */
/* The first field of that name (any case); NULL: none. */
const char *front_field(const struct front_request *request, const char *name);
/* Followed by a NUL that is not counted. */
const uint8_t *front_body(const struct front_request *request, size_t *len);
/* The far end; what X-Forwarded-For or X-Real-IP of a trusted proxy say counts. */
const struct net_endpoint *front_from(const struct front_request *request);
/* Whether the client sees https: TLS here, or a trusted proxy's X-Forwarded-Proto. */
bool front_is_secure(const struct front_request *request);
/* The value of `name` in the query, decoded, into `buf`; its length, or -ENOENT, or -EINVAL (does
 * not fit, bad escape, NUL). */
ssize_t front_query_get(
	const struct front_request *request, const char *name, char *buf, size_t size);

/* A field of the answer; before front_reply, from the same loop. Names and values are copied; one
 * with a control character is left out. */
void front_header(struct front_request *request, const char *name, const char *value);
/* The answer; from any loop. Bytes are copied. `type` NULL: no body, no Content-Type. Pages
 * (text/html) get the security headers of a page that is nobody's frame. */
void front_reply(
	struct front_request *request, int status, const char *type, const void *body, size_t len);
/* A line of text, plain. */
void front_reply_text(struct front_request *request, int status, const char *text);

/*
 * The handler takes the connection: it is the handler's from now on, with the bytes that came after
 * the head in it; nothing was answered yet. On the connection's I/O loop only. NULL: no memory, and
 * the connection is closed. Ends the request.
 */
struct io_stream *front_upgrade(struct front_request *request);

/*
 * A certificate that goes out behind the chain of whichever certificate is chosen: where relays
 * tell their key. DER; NULL: none. Control loop.
 */
int front_extra_certificate(const void *der, size_t len, struct err *err);

/* Why the files of core.http's certificates, which changed, are not served but what was in them
 * before; NULL: they are, or there are none. Until the next look. Control loop. */
const char *front_certificates_problem(void);

/*
 * Listeners of a plugin's own beside those of core.http: the same routes, another certificate, out
 * of two files in PEM that are read again when they change. Control loop; open in start, close in
 * stop. Requests that came by them go on.
 */
struct front_own;
int front_own_open(struct front_own **own, char *const *addresses, size_t n, const char *cert_path,
	const char *key_path, struct err *err);
void front_own_close(struct front_own *own);
/* The files were written anew: those who come from now on get the new certificate. */
int front_own_renew(struct front_own *own, struct err *err);
/* Where the first of them is. */
struct net_endpoint front_own_where(const struct front_own *own);

/* Where the first public listener is, port 0 when there is none, and whether it speaks TLS: for the
 * addresses that plugins print. */
struct net_endpoint front_where(bool *tls);
uint16_t front_port(bool *tls);
/* Whether other machines reach plain HTTP here on port 80, where clients ask for /generate_204. */
bool front_serves_port_80(void);

#pragma GCC visibility pop
