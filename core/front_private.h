/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The front door between its files. A connection lives on one I/O loop, in exactly one list of it;
 * a list holds those that wait for the same thing, oldest first, so that time-outs and "the oldest
 * goes" look at its head alone.
 */
#include <stdatomic.h>
#include <sys/stat.h>

#include <tailplane/front.h>
#include <tailplane/metrics.h>

#include "core_conf.h"
#include "front_head.h"

enum conn_state {
	CONN_HELLO,   /* TLS: the ClientHello is not whole yet, and stays in the kernel */
	CONN_TLS,     /* handshake */
	CONN_HEAD,    /* a request's head, or body, is on its way */
	CONN_SERVING, /* a handler has the request */
	CONN_ANSWER,  /* the answer is being taken */
	CONN_IDLE,    /* between two requests */
	CONN_LINGER,  /* answered and closed for writing: what still comes is thrown away */
	CONN_STATES,
};

enum site { SITE_PUBLIC, SITE_METRICS };

/* A listening socket; written by the control loop while no I/O loop listens on it. */
struct listener {
	struct listener *next;
	ev_io acceptable;
	ev_timer pause; /* out of descriptors */
	int fd;
	char *address;
	enum site site;
	bool tls;        /* speaks it */
	bool beside_tls; /* plain, where another speaks it: serves FRONT_PLAIN, sends others there
			  */
	bool optional;
	const struct front_own *own; /* whose certificate it has; NULL: that of core.http */
};

struct front_conn {
	struct io_message arrival; /* from the loop that accepted */
	struct front_conn *next, **prev;
	struct front_loop *loop;
	ev_io io;
	struct io_stream stream;
	enum conn_state state;
	uint64_t since; /* of the state, or of the last progress in it */
	enum site site;
	bool tls, beside_tls, close_after;
	int hello_len;                 /* what the kernel was asked to wait for; 0: nothing */
	struct front_head *head;       /* being read */
	struct front_request *request; /* being served */
	struct tls_context *context;   /* of the listener, where it has one of its own; counted */
	uint8_t *out;                  /* the answer */
	size_t out_len, out_at;
};

struct conn_list {
	struct front_conn *head, **tail;
	_Atomic unsigned n; /* written by the loop, read by scrapes */
};

/* Of one I/O loop, its thread's alone. */
struct front_loop {
	struct io_loop *io;
	struct conn_list lists[CONN_STATES];
	ev_timer tick;
	const struct front_routes *routes;
	struct tls_context *tls;
	const struct front_limits *limits;
	struct head_proxies proxies;
	uint16_t tls_port; /* where requests beside TLS are sent */
	bool leaving;      /* what is not there any more may be there in another process */
};

struct front_limits {
	unsigned half_open, connections; /* of one loop */
};

struct front_request {
	struct io_message message;
	struct front_conn *conn;
	struct io_loop *loop; /* of the connection */
	struct front_head *head;
	void (*serve)(struct front_request *request, void *user);
	void *user;
	struct net_endpoint from;
	bool secure, close_after;
	char *fields; /* of the answer, as they go out; heap */
	size_t fields_len;
	uint8_t *out;
	size_t out_len;
};

/* What is counted; written by I/O loops, read by scrapes. */
struct front_counts {
	_Atomic uint64_t accepted, refused, evicted, timed_out, requests, tls_failed, upgraded,
		no_descriptors;
};
extern struct front_counts front_counts;

extern _Atomic unsigned front_metrics_conns; /* open ones, of all loops */

static inline void front_count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* ---- front.c ---- */

struct front_loop *front_loop_of(struct io_loop *loop);

struct tls_files;
/* With the extra certificate; NULL: `err` says why. */
struct tls_context *front_context_new(const struct tls_files *files, size_t n, struct err *err);
/* What the files are now; two a pair. */
void front_files_look(const struct tls_files *files, size_t n, struct stat *seen);
bool front_files_differ(const struct stat *a, const struct stat *b, size_t n);

/* ---- front_own.c ---- */

/* A plugin's listeners and their certificate; see front_own.c. */
struct tls_context *front_own_context(const struct front_own *own);
/* Takes certificates that changed, and all of them where `all`. */
void front_own_look(bool all);
/* The listeners that there are accept. First I/O loop. */
void front_own_accept(void);
/* Nobody listens any more; what was accepted goes on. Control loop. */
void front_own_leave(void);

/* ---- front_routes.c ---- */

struct front_routes; /* a table; never changed once loops have it */

struct front_found {
	const struct front_route *route; /* NULL: `status` says why not */
	int status;
	const char *field, *value; /* that go with it; may be NULL */
	const char *why;
};
/* An upgrade's token is that of the request, "" if it has none. */
struct front_found front_routes_find(const struct front_routes *routes, enum site site,
	const char *method, const char *path, const char *upgrade);

/* Gives the table to each I/O loop. */
void front_routes_give(void);

/* ---- front_conn.c ---- */

/* A connection that was accepted on another loop. Frees `conn` when there is no room. */
void front_conn_arrive(struct io_message *message);
void front_conn_close(struct front_conn *conn);
void front_conn_move(struct front_conn *conn, enum conn_state state);
/* Sends `out`, which the connection takes (heap). */
void front_conn_answer(struct front_conn *conn, uint8_t *out, size_t len, bool close_after);
/* Closes those that hold a descriptor and do nothing with it; how many. */
unsigned front_conns_shed(struct front_loop *loop, unsigned n);
void front_conns_tick(struct ev_loop *ev, ev_timer *timer, int revents);

/* ---- front_pages.c ---- */

void front_pages_add(void);
void front_pages_remove(void);

/* ---- front_request.c ---- */

/* A whole request: finds its handler, or answers. */
void front_request_serve(struct front_conn *conn);
void front_request_free(struct front_request *request);
/* What the route of a head allows as body; -1: the request is answered already. */
ssize_t front_request_body_max(struct front_conn *conn);
/* An answer of the front door itself. */
void front_refuse(struct front_conn *conn, int status, const char *why);

/* ---- front_listen.c ---- */

/* Opens what the settings say and is not open; 0 or -errno. Later steps cannot fail. */
int front_listeners_prepare(const struct core_conf *conf, bool starting, struct err *err);
void front_listeners_commit(void);
void front_listeners_abandon(void);
void front_listeners_close(void);
/* The first public one; NULL: none. */
const struct listener *front_listeners_first(void);
/* One that is in no list of ours, on `address`; it does not listen yet. NULL: `err` says why. */
struct listener *front_listener_open(
	const char *address, const struct front_own *own, struct err *err);
void front_listener_free(struct listener *listener);
/* Accept connections or not: on the first I/O loop. */
void front_listener_begin(struct listener *listener);
void front_listener_end(struct listener *listener);
struct net_endpoint front_listener_where(const struct listener *listener);
