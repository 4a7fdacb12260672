/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Who has which subnet. A prefix that several nodes may serve is given to one of them, the primary:
 * it stays while it can serve; then the healthy one with the lowest id follows; when none is
 * healthy the last one keeps it while it is a candidate. Candidates are online nodes for which the
 * prefix is advertised and approved. Exit routes have no primary: all have them. Control loop.
 *
 * A restart of the server moves no subnet: who won is kept with the node, and for a while after the
 * start it counts as a candidate until its client is back. Traffic goes on meanwhile.
 */
#include "tailnet.h"

/* How long after the start. */
#define ROUTES_AWAITED_NS (20 * 1000000000ull)

/* Makes node->routes anew from what is advertised and approved. 0 or -ENOMEM. */
int routes_make(struct node *node);
/* The node's routes or its health changed: elects again for its prefixes, and tells the listeners
 * about each node that won or lost (not about `node` itself: returns whether it did). */
bool routes_elect(struct tailnet *t, struct node *node);
/* It goes: elects among the others. */
void routes_forget(struct tailnet *t, struct node *node);
/* Nodes whose health decides something: each with a prefix that another online node has too.
 * Calls `fn` once for each. */
void routes_contended(struct tailnet *t, void (*fn)(void *arg, struct node *node), void *arg);
void routes_fini(struct tailnet *t);
