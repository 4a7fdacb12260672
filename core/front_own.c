/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Listeners that plugins open, with certificates of their own. Runs on: the control loop, but for
 * what io_on_each calls and front_own_context, which are the first I/O loop's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/log.h>
#include <tailplane/loop.h>

#include "front_private.h"
#include "front_tls.h"

/* The keys of session tickets live as long as a context. */
#define TICKETS_FOR (12 * 3600 * 1000000000ull)

struct front_own {
	struct front_own *next;
	struct tls_files files; /* texts are ours */
	struct stat seen[2];
	uint64_t made;           /* when `tls` was */
	struct tls_context *tls; /* exchanged by the first I/O loop at the control loop's request */
	struct listener *listeners;
};

static struct front_own *owns;

struct tls_context *front_own_context(const struct front_own *own)
{
	return own->tls;
}

/* ---- on the first I/O loop ---- */

struct exchange {
	struct front_own *own;
	struct tls_context *tls; /* in: the next one; out: that which was */
};

static void exchange_here(void *arg)
{
	struct exchange *exchange = arg;
	struct tls_context *was = exchange->own->tls;

	if (io_loop_index(io_loop_here()) != 0)
		return;
	exchange->own->tls = exchange->tls;
	exchange->tls = was;
}

static void begin_here(void *arg)
{
	const struct front_own *own = arg;

	for (struct listener *l = own->listeners; l && !io_loop_index(io_loop_here()); l = l->next)
		front_listener_begin(l);
}

void front_own_accept(void)
{
	for (const struct front_own *own = owns; own; own = own->next)
		for (struct listener *l = own->listeners; l; l = l->next)
			ev_io_start(io_loop_ev(io_loop_here()), &l->acceptable);
}

static void end_here(void *arg)
{
	const struct front_own *own = arg;

	for (struct listener *l = own->listeners; l && !io_loop_index(io_loop_here()); l = l->next)
		front_listener_end(l);
}

/* ---- certificates ---- */

int front_own_renew(struct front_own *own, struct err *err)
{
	struct exchange exchange = {.own = own};

	front_files_look(&own->files, 1, own->seen);
	own->made = core_now();
	exchange.tls = front_context_new(&own->files, 1, err);
	if (!exchange.tls)
		return -EINVAL;
	io_on_each(exchange_here, &exchange);
	tls_context_put(exchange.tls);
	return 0;
}

void front_own_look(bool all)
{
	for (struct front_own *own = owns; own; own = own->next) {
		struct stat now[2];
		struct err err = {0};

		front_files_look(&own->files, 1, now);
		if (!all && !front_files_differ(now, own->seen, 1) &&
			core_now() - own->made < TICKETS_FOR)
			continue;
		if (front_own_renew(own, &err))
			log_warnx(
				"%s changed, and is not taken: %s", own->files.cert_path, err.msg);
	}
}

/* ---- life ---- */

static void listeners_free(struct front_own *own)
{
	while (own->listeners) {
		struct listener *one = own->listeners;

		own->listeners = one->next;
		front_listener_free(one);
	}
}

void front_own_leave(void)
{
	for (struct front_own *own = owns; own; own = own->next) {
		io_on_each(end_here, own);
		listeners_free(own);
	}
}

static void own_free(struct front_own *own)
{
	listeners_free(own);
	tls_context_put(own->tls);
	free((char *)own->files.cert_path);
	free((char *)own->files.key_path);
	free(own);
}

static int listen_all(struct front_own *own, char *const *addresses, size_t n, struct err *err)
{
	struct listener **at = &own->listeners;

	for (size_t i = 0; i < n; i++) {
		*at = front_listener_open(addresses[i], own, err);
		if (!*at)
			return -EINVAL;
		at = &(*at)->next;
	}
	return 0;
}

int front_own_open(struct front_own **opened, char *const *addresses, size_t n,
	const char *cert_path, const char *key_path, struct err *err)
{
	struct front_own *own = calloc(1, sizeof(*own));
	int rc;

	if (!own)
		return err_set(err, -ENOMEM, "out of memory");
	own->files = (struct tls_files){strdup(cert_path), strdup(key_path)};
	rc = own->files.cert_path && own->files.key_path ? front_own_renew(own, err) : -ENOMEM;
	if (!rc)
		rc = listen_all(own, addresses, n, err);
	if (rc) {
		own_free(own);
		return rc;
	}
	own->next = owns;
	owns = own;
	io_on_each(begin_here, own);
	*opened = own;
	return 0;
}

void front_own_close(struct front_own *own)
{
	struct front_own **at = &owns;

	while (*at != own)
		at = &(*at)->next;
	*at = own->next;
	io_on_each(end_here, own);
	own_free(own);
}

struct net_endpoint front_own_where(const struct front_own *own)
{
	return own->listeners ? front_listener_where(own->listeners) : (struct net_endpoint){0};
}
