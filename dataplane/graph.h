/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The skeleton behind the node table: rte_graph, and nothing of it outside of graph.c. */
#include <stdint.h>

#include <jansson.h>

#include "tailplane/err.h"
#include "tailplane/node.h"

struct graph;

/* Control loop, while there is no graph. Registers the built-in graph nodes and `extra`
 * (NULL-terminated, may be NULL); a later call adds what is new and takes nothing back. On an error
 * all is as it was. */
int graph_register(const struct graph_node *const *builtin, const struct graph_node *const *extra,
	struct err *err);
/* Losses counted outside of a verdict (ports); before graph_register. */
void graph_register_drops(const struct drop_reason *drops);
struct graph *graph_new(struct worker *w, struct err *err);
void graph_free(struct graph *g);
/* Worker: one round over all sources. */
void graph_walk(struct graph *g);
/* The calling thread's worker; set by the worker before it walks. */
extern __thread struct worker *graph_worker;

/* Rows of `tailplane graph`: sums over the graphs given. */
void graph_rows(struct graph *const *graphs, unsigned n, json_t *rows);

/* Drop reasons by number, NULL past the end. */
const char *graph_drop_name(unsigned number, const char **meaning);
/* Number of a reason that must exist. */
unsigned graph_drop_number(const char *name);
