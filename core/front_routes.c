/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which handler a request goes to. A table is made on the control loop, given to every I/O loop by
 * a call that is waited for, and then the old one is freed: loops read it without locks.
 */
#include "front_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <tailplane/plugin.h>

struct front_routes {
	unsigned n;
	struct front_route routes[];
};

static const struct front_routes none;
static const struct front_routes *current = &none; /* the control loop's */

/* ---- finding; any thread ---- */

static bool has_method(const struct front_route *route, const char *method)
{
	size_t len = strlen(method);

	for (const char *at = route->methods; *at; at += strspn(at, " ")) {
		size_t word = strcspn(at, " ");

		if (word == len && memcmp(at, method, len) == 0)
			return true;
		if (word == 3 && memcmp(at, "GET", 3) == 0 && strcmp(method, "HEAD") == 0)
			return true;
		at += word;
	}
	return false;
}

/* The longer the better; 0: not this one. */
static size_t path_match(const struct front_route *route, const char *path)
{
	size_t len = strlen(route->path);

	if ((route->flags & FRONT_PREFIX) && strncmp(route->path, path, len) == 0)
		return len;
	return strcmp(route->path, path) == 0 ? len + 1 : 0;
}

/* 2: asks for what the route is; 1: the route takes anything; 0: another. */
static int upgrade_match(const struct front_route *route, const char *upgrade)
{
	if (!route->upgrade)
		return *upgrade ? 1 : 2;
	if (!*route->upgrade)
		return 1;
	return strcasecmp(route->upgrade, upgrade) == 0 ? 2 : 0;
}

struct front_found front_routes_find(const struct front_routes *routes, enum site site,
	const char *method, const char *path, const char *upgrade)
{
	struct front_found found = {.status = 404, .why = "nothing here"};
	size_t best_path = 0;
	int best_upgrade = 0;

	for (unsigned i = 0; i < routes->n; i++) {
		const struct front_route *route = &routes->routes[i];
		size_t by_path = path_match(route, path);
		int by_upgrade = upgrade_match(route, upgrade);

		if (!by_path || by_path < best_path ||
			!(route->flags & FRONT_METRICS) != (site != SITE_METRICS))
			continue;
		if (by_path > best_path) {
			found = (struct front_found){.status = 404};
			best_upgrade = 0;
		}
		best_path = by_path;
		if (!has_method(route, method)) {
			if (!found.route && found.status != 426)
				found = (struct front_found){.status = 405,
					.field = "Allow",
					.value = route->methods,
					.why = "another method"};
		} else if (!by_upgrade) {
			if (!found.route)
				found = (struct front_found){.status = 426,
					.field = "Upgrade",
					.value = route->upgrade,
					.why = "an upgrade is wanted here"};
		} else if (by_upgrade > best_upgrade) {
			found = (struct front_found){.route = route};
			best_upgrade = by_upgrade;
		}
	}
	return found;
}

/* ---- changing; control loop ---- */

static void give_here(void *arg)
{
	front_loop_of(io_loop_here())->routes = arg;
}

void front_routes_give(void)
{
	io_on_each(give_here, (void *)current);
}

static void replace(const struct front_routes *next)
{
	const struct front_routes *old = current;

	current = next;
	front_routes_give();
	if (old != &none)
		free((void *)old);
}

static struct front_routes *table_new(unsigned n)
{
	struct front_routes *table = malloc(sizeof(*table) + n * sizeof(table->routes[0]));

	if (!table)
		abort();
	table->n = 0;
	return table;
}

static bool same(const struct front_route *a, const struct front_route *b)
{
	return strcmp(a->path, b->path) == 0 && strcmp(a->methods, b->methods) == 0 &&
	       a->flags == b->flags && !a->upgrade == !b->upgrade &&
	       (!a->upgrade || strcmp(a->upgrade, b->upgrade) == 0);
}

int front_route_add(const struct front_route *route, struct err *err)
{
	struct front_routes *next;

	for (unsigned i = 0; i < current->n; i++) {
		if (same(&current->routes[i], route))
			return err_set(err, -EEXIST, "the route %s is taken", route->path);
	}
	next = table_new(current->n + 1);
	memcpy(next->routes, current->routes, current->n * sizeof(*route));
	next->routes[current->n] = *route;
	next->n = current->n + 1;
	replace(next);
	return 0;
}

void front_routes_remove(const void *user)
{
	struct front_routes *next = table_new(current->n);

	for (unsigned i = 0; i < current->n; i++) {
		if (current->routes[i].user != user)
			next->routes[next->n++] = current->routes[i];
	}
	replace(next);
	io_flush(); /* those on their way to the control loop */
}
