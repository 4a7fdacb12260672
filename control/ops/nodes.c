/* SPDX-License-Identifier: BSD-3-Clause */
/* `nodes ...`. Runs on: the control loop. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/loop.h>

#include "common.h"
#include "times.h"

/* ---- lists ---- */

/* How long a list may hold the loop before others get their turn. */
#define SLICE_NS (5 * 1000000ull)

/* A list that is being written, a slice a turn: nodes that go meanwhile are left out. */
struct listing {
	struct op_call *call;
	int64_t *ids;
	size_t n, at;
	struct json_out text;
	ev_timer next;
};

static void listing_free(void *arg)
{
	struct listing *list = arg;

	ev_timer_stop(core_loop(), &list->next);
	json_out_fini(&list->text);
	free(list->ids);
	free(list);
}

static void listing_answer(struct listing *list)
{
	struct op_call *call = list->call;
	struct json_out text = list->text;

	json_out_raw(&text, "]", 1);
	list->text = (struct json_out){0};
	listing_free(list);
	if (json_out_ok(&text)) {
		op_reply_text(call, text.text, text.len);
	} else {
		json_out_fini(&text);
		op_fail(call, "no memory for a list so long");
	}
}

static void listing_slice(struct listing *list)
{
	uint64_t until = core_now() + SLICE_NS;
	struct node_shapes shapes = {0};

	while (list->at < list->n && (list->at % 16 || core_now() < until)) {
		const struct node *node = node_by_id(ops_tailnet, list->ids[list->at++]);

		if (!node)
			continue;
		if (list->text.len > 1)
			json_out_raw(&list->text, ",", 1);
		put_node(&list->text, node, &shapes);
	}
	node_shapes_fini(&shapes);
}

static void listing_go_on(struct listing *list)
{
	listing_slice(list);
	if (list->at < list->n)
		ev_timer_start(core_loop(), &list->next);
	else
		listing_answer(list);
}

LOOP_CALLBACK(nodes_list_slice, ev_timer)
{
	(void)loop, (void)revents;
	listing_go_on(watcher->data);
}

static struct listing *listing_new(struct op_call *call, size_t room)
{
	struct listing *list = calloc(1, sizeof(*list));

	if (list)
		list->ids = calloc(room + 1, sizeof(*list->ids));
	if (!list || !list->ids)
		abort();
	list->call = call;
	ev_timer_init(&list->next, nodes_list_slice, 0., 0.);
	list->next.data = list;
	op_on_close(call, listing_free, list);
	json_out_raw(&list->text, "[", 1);
	return list;
}

static void list_nodes(struct op_call *call, const void *choice,
	bool (*chosen)(const void *choice, const struct node *node))
{
	size_t n;
	struct node **nodes = nodes_list(ops_tailnet, &n);
	struct listing *list = listing_new(call, n);

	for (size_t i = 0; i < n; i++)
		if (chosen(choice, nodes[i]))
			list->ids[list->n++] = nodes[i]->d.id;
	free(nodes);
	listing_go_on(list);
}

struct list_choice {
	const struct user *user; /* NULL: all users' */
	bool waiting;            /* for approval */
};

static bool list_chooses(const void *arg, const struct node *node)
{
	const struct list_choice *choice = arg;

	return (!choice->user || node->user == choice->user) &&
	       (!choice->waiting || !node->d.approved);
}

void run_nodes_list(struct op_call *call, const json_t *args)
{
	struct list_choice choice = {.waiting = arg_is(args, "waiting")};

	if (arg_text(args, "user") && !(choice.user = arg_user(call, args, "user")))
		return;
	list_nodes(call, &choice, list_chooses);
}

static bool routes_choose(const void *one, const struct node *node)
{
	return one ? node == one : node->info.n_routes || node->n_approved;
}

void run_nodes_routes(struct op_call *call, const json_t *args)
{
	const struct node *one = NULL;

	if (arg_text(args, "identifier") && !(one = arg_node(call, args)))
		return;
	list_nodes(call, one, routes_choose);
}

/* ---- changes ---- */

void run_nodes_rename(struct op_call *call, const json_t *args)
{
	struct node *node = arg_node(call, args);

	if (node)
		node_rename(ops_tailnet, node->d.id, arg_text(args, "new-name"), answer_done,
			answer_new(call, answer_node, NULL));
}

void run_nodes_delete(struct op_call *call, const json_t *args)
{
	struct node *node = arg_node(call, args);

	if (node)
		node_remove(ops_tailnet, node->d.id, answer_done,
			answer_new(call, NULL, "Node deleted"));
}

void run_nodes_expire(struct op_call *call, const json_t *args)
{
	const char *text = arg_text(args, "expiry");
	struct node *node = arg_node(call, args);
	int64_t expiry = tailnet_wall(ops_tailnet);

	if (!node)
		return;
	if (text && arg_is(args, "disable")) {
		op_fail(call, "give either --expiry or --disable");
		return;
	}
	if (text && !time_text_parse(&expiry, text, strlen(text))) {
		op_fail(call, "expiry takes a time such as 2026-12-31T23:59:59Z, not %s", text);
		return;
	}
	node_expire(ops_tailnet, node->d.id, arg_is(args, "disable") ? 0 : expiry, answer_done,
		answer_new(call, answer_node, NULL));
}

void run_nodes_tag(struct op_call *call, const json_t *args)
{
	struct node *node = arg_node(call, args);
	const char **tags;
	size_t n;

	if (!node)
		return;
	tags = arg_texts(args, "tags", &n);
	node_set_tags(
		ops_tailnet, node->d.id, tags, n, answer_done, answer_new(call, answer_node, NULL));
	free((void *)tags);
}

static bool read_routes(
	struct op_call *call, const json_t *args, struct net_prefix **routes, size_t *n)
{
	const char **texts = arg_texts(args, "routes", n);
	bool good = true;

	*routes = calloc(*n + 1, sizeof(**routes));
	if (!*routes)
		abort();
	for (size_t i = 0; good && i < *n; i++) {
		struct net_prefix *route = &(*routes)[i];

		good = net_prefix_parse(route, texts[i]) == 0;
		if (good)
			*route = net_prefix_masked(route);
		else
			op_fail(call, "routes takes prefixes such as 10.0.0.0/8, not %s", texts[i]);
	}
	free((void *)texts);
	if (!good)
		free(*routes);
	return good;
}

void run_nodes_approve_routes(struct op_call *call, const json_t *args)
{
	struct node *node = arg_node(call, args);
	struct net_prefix *routes;
	size_t n;

	if (!node || !read_routes(call, args, &routes, &n))
		return;
	node_approve_routes(ops_tailnet, node->d.id, routes, n, answer_done,
		answer_new(call, answer_node, NULL));
	free(routes);
}

void run_nodes_approve(struct op_call *call, const json_t *args)
{
	struct node *node = arg_node(call, args);

	if (node)
		node_approve(ops_tailnet, node->d.id, !arg_is(args, "revoke"), answer_done,
			answer_new(call, answer_node, NULL));
}

void run_nodes_set_ip(struct op_call *call, const json_t *args)
{
	struct node *node = arg_node(call, args);
	struct net_addr v4 = {0}, v6 = {0}, addr;
	const char **texts;
	size_t n;

	if (!node)
		return;
	texts = arg_texts(args, "address", &n);
	for (size_t i = 0; i < n; i++) {
		struct net_addr *to;

		if (net_addr_parse(&addr, texts[i]) != 0) {
			op_fail(call, "%s is no address", texts[i]);
			free((void *)texts);
			return;
		}
		to = addr.family == AF_INET ? &v4 : &v6;
		if (to->family) {
			op_fail(call, "at most one address of each family");
			free((void *)texts);
			return;
		}
		*to = addr;
	}
	free((void *)texts);
	node_set_addresses(ops_tailnet, node->d.id, &v4, &v6, answer_done,
		answer_new(call, answer_node, NULL));
}

/* ---- backfillips: one node after the other ---- */

struct backfill {
	struct op_call *call;
	json_t *changes;
	int64_t *ids;
	size_t n, at;
	json_t *before; /* addresses of the one under way */
};

static void asker_left(void *arg)
{
	struct backfill *fill = arg;

	fill->call = NULL;
}

static json_t *addresses_of(int64_t id)
{
	const struct node *node = node_by_id(ops_tailnet, id);
	json_t *shown = node ? node_json(node) : json_object();
	json_t *addresses = json_incref(json_object_get(shown, "ipAddresses"));

	json_decref(shown);
	return addresses;
}

static void fill_next(struct backfill *fill);

static void note_change(struct backfill *fill, const struct tailnet_result *result)
{
	json_t *after = addresses_of(fill->ids[fill->at]), *line = NULL;

	if (result->error && result->error != -ENOENT)
		line = json_sprintf("node %lld: %s", (long long)fill->ids[fill->at], result->why);
	else if (!result->error && !json_equal(fill->before, after)) {
		const struct node *node = node_by_id(ops_tailnet, fill->ids[fill->at]);
		char *text = json_dumps(after, 0);

		line = json_sprintf("node %s now has %s", node->d.label, text);
		free(text);
	}
	if (line)
		json_array_append_new(fill->changes, line);
	json_decref(after);
}

static void filled(void *arg, const struct tailnet_result *result)
{
	struct backfill *fill = arg;

	note_change(fill, result);
	json_decref(fill->before);
	fill->at++;
	fill_next(fill);
}

static void fill_next(struct backfill *fill)
{
	if (fill->call && fill->at < fill->n) {
		fill->before = addresses_of(fill->ids[fill->at]);
		node_backfill(ops_tailnet, fill->ids[fill->at], filled, fill);
		return;
	}
	if (fill->call)
		op_reply(fill->call, json_pack("{s:O}", "changes", fill->changes));
	json_decref(fill->changes);
	free(fill->ids);
	free(fill);
}

void run_nodes_backfill(struct op_call *call, const json_t *args)
{
	struct backfill *fill = calloc(1, sizeof(*fill));
	struct node **nodes;

	(void)args;
	if (!fill)
		abort();
	nodes = nodes_list(ops_tailnet, &fill->n);
	fill->ids = calloc(fill->n + 1, sizeof(*fill->ids));
	if (!fill->ids)
		abort();
	for (size_t i = 0; i < fill->n; i++)
		fill->ids[i] = nodes[i]->d.id;
	free(nodes);
	fill->changes = json_array();
	fill->call = call;
	op_on_close(call, asker_left, fill);
	fill_next(fill);
}
