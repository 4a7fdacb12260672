/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What streams show. Random changes of a tailnet, with streams that come, go and lag behind: in the
 * end each client's view, made by the protocol's rules from what it was sent, equals what the
 * tailnet is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "control_streams.h"
#include "policy.h"
#include "record.h"

static struct prng prng;

/* ---- the model: everybody compared with everybody ------------------------------------------ */

static json_t *model_record(const struct node *node, uint32_t view)
{
	struct json_out out = {0};
	struct map_conf conf = world_map_conf();
	json_t *record;

	record_peer(&out, &conf, world_tailnet.policy, view, node);
	record = json_loadb(out.text, out.len, 0, NULL);
	json_out_fini(&out);
	assert_non_null(record);
	return record;
}

/* Endpoints that a node lost are not worth a message: others may still have them. */
static bool endpoints_fine(json_t *want, json_t *have)
{
	char *few = json_dumps(json_object_get(want, "Endpoints"), 0);
	char *many = json_dumps(json_object_get(have, "Endpoints"), 0);
	bool fine = few && many && endpoints_within(few, many);

	free(few);
	free(many);
	json_object_del(want, "Endpoints");
	json_object_del(have, "Endpoints");
	return fine;
}

static void compare_peer(const struct client *c, const struct node *viewer, const struct node *node)
{
	uint32_t view = world_tailnet.policy->view_of(viewer);
	bool shown = viewer->d.approved && node_is_shown(node) &&
		     world_tailnet.policy->shows(view, node);
	json_t *want, *have;
	char id[24];

	snprintf(id, sizeof(id), "%lld", (long long)node->d.id);
	have = json_object_get(c->peers, id);
	if (!shown || node == viewer) {
		if (have)
			fail_msg("node %s is shown to node %lld", id, (long long)viewer->d.id);
		return;
	}
	if (!have)
		fail_msg("node %s is missing at node %lld", id, (long long)viewer->d.id);
	want = model_record(node, view);
	have = json_copy(have);
	if (!endpoints_fine(want, have) || !json_equal(want, have)) {
		fprintf(stderr, "is     %s\nshould %s\n", json_dumps(have, JSON_SORT_KEYS),
			json_dumps(want, JSON_SORT_KEYS));
		fail_msg("node %s at node %lld", id, (long long)viewer->d.id);
	}
	json_decref(want);
	json_decref(have);
	snprintf(id, sizeof(id), "%lld",
		node->user ? (long long)node->user->d.id : (long long)TAGGED_USER_ID);
	have = json_object_get(c->profiles, id);
	assert_non_null(have);
	assert_string_equal(
		json_string_value(json_object_get(have, "LoginName")), user_login(node->user));
}

static void compare(void)
{
	size_t n;
	struct node **nodes = nodes_list(&world_tailnet, &n);

	for (unsigned i = 0; i < MACHINES; i++) {
		struct client *c = streams[i];
		struct node *viewer = node_of(i);
		size_t known = 0;

		if (!c || c->ended || !viewer)
			continue;
		assert_non_null(c->peers);
		assert_false(c->found_itself);
		for (size_t k = 0; k < n; k++)
			compare_peer(c, viewer, nodes[k]);
		for (size_t k = 0; k < n; k++)
			known += viewer->d.approved && nodes[k] != viewer &&
				 node_is_shown(nodes[k]) &&
				 world_tailnet.policy->shows(
					 world_tailnet.policy->view_of(viewer), nodes[k]);
		assert_int_equal(json_object_size(c->peers), known); /* and nobody who is gone */
	}
	free(nodes);
}

/* ---- random changes ------------------------------------------------------------------------ */

static void any_report(unsigned m)
{
	static const char *const reports[] = {
		",\"Endpoints\":[\"192.0.2.1:41641\"]",
		",\"Endpoints\":[\"192.0.2.1:41641\",\"[2001:db8::1]:41641\"]",
		",\"Endpoints\":[\"198.51.100.7:1000\"]",
		",\"Hostinfo\":{\"Hostname\":\"alpha\",\"OS\":\"linux\",\"NetInfo\":{"
		"\"PreferredDERP\":"
		"3}}",
		",\"Hostinfo\":{\"Hostname\":\"beta\",\"OS\":\"macOS\",\"NetInfo\":{"
		"\"PreferredDERP\":"
		"4}}",
		",\"Hostinfo\":{\"Hostname\":\"gamma\",\"RoutableIPs\":[\"10.0.0.0/8\",\"0.0.0.0/"
		"0\",\"::/"
		"0\"]}",
		(",\"Hostinfo\":{\"Hostname\":\"gamma\","
		 "\"RoutableIPs\":[\"10.0.0.0/8\",\"192.168.1.0/24\"]}"),
		"",
	};

	report(m, reports[prng_below(&prng, sizeof(reports) / sizeof(*reports))]);
}

static void any_administration(unsigned m)
{
	static const char *const tags[] = {"tag:one", "tag:two"};
	struct node *node = node_of(m);
	struct net_prefix routes[2];
	char label[20];
	int64_t id = node->d.id;

	net_prefix_parse(&routes[0], "10.0.0.0/8");
	net_prefix_parse(&routes[1], "0.0.0.0/0");
	switch (prng_below(&prng, 7)) {
	case 0:
		snprintf(label, sizeof(label), "name-%u", prng_below(&prng, 1000));
		node_rename(&world_tailnet, id, label, NULL, NULL);
		break;
	case 1:
		node_expire(&world_tailnet, id,
			prng_below(&prng, 2) ? 0 : world_wall() + (int64_t)SECOND_NS, NULL, NULL);
		break;
	case 2:
		node_set_tags(&world_tailnet, id, tags, 1 + prng_below(&prng, 2), NULL, NULL);
		break;
	case 3:
	case 4:
		node_approve_routes(&world_tailnet, id, routes, prng_below(&prng, 3), NULL, NULL);
		break;
	case 5:
		node_approve(&world_tailnet, id, prng_below(&prng, 3), NULL, NULL);
		break;
	case 6:
		user_rename(
			&world_tailnet, 1, prng_below(&prng, 2) ? "alice" : "alicia", NULL, NULL);
		break;
	}
}

static void any_change(void)
{
	unsigned m = prng_below(&prng, MACHINES);
	struct node *node = node_of(m);
	int64_t id;

	if (!node) {
		join(m, "machine");
		if (prng_below(&prng, 2))
			open_stream(m);
		report(m, "");
		return;
	}
	switch (prng_below(&prng, 12)) {
	case 0:
		close_stream(m);
		break;
	case 1:
	case 2:
		open_stream(m);
		break;
	case 3:
		if (!prng_below(&prng, 4)) {
			node_remove(&world_tailnet, node->d.id, NULL, NULL);
			world_settle();
			if (streams[m])
				assert_true(streams[m]->ended);
			close_stream(m);
			node_keys[m] += 1000;
		}
		break;
	case 4: /* slow for a while */
		if (streams[m])
			client_backlog(streams[m], prng_below(&prng, 2) ? 1000000 : 0);
		break;
	case 5: /* a new node key, by which it is the same node but for a change of owner */
		id = node->d.id;
		node_keys[m] += 1000;
		client_free(client_register(m, node_keys[m], "machine", key_member));
		if (node_of(m)->d.id != id)
			close_stream(m);
		break;
	case 6:
	case 7:
		any_administration(m);
		break;
	default:
		any_report(m);
	}
	if (prng_below(&prng, 3))
		world_pass(prng_below(&prng, 50) * 1000000ull);
	if (!prng_below(&prng, 40))
		world_pass(15 * SECOND_NS);
}

static void catch_up_and_compare(void)
{
	for (unsigned m = 0; m < MACHINES; m++)
		if (streams[m])
			client_backlog(streams[m], 0);
	world_pass(3 * SECOND_NS);
	compare();
}

static void begin(uint64_t seed)
{
	prng.state = seed;
	make_key("alice");
	for (unsigned m = 0; m < MACHINES; m++)
		node_keys[m] = m;
}

static void random_changes(uint64_t seed, unsigned n)
{
	begin(seed);
	for (unsigned i = 0; i < n; i++) {
		any_change();
		if (i % 50 == 49)
			catch_up_and_compare();
	}
	assert_true(map_stats(world_map)->behind > 0);
	close_all();
}

static void test_random(void **state)
{
	(void)state;
	random_changes(7, 600);
}

/* ---- the same under a policy --------------------------------------------------------------- */

/* Two halves by the parity of the id, tagged ones seen by all; one route is for one half only. */
static uint32_t half_of(const struct node *viewer)
{
	return viewer->d.user ? (uint32_t)(viewer->d.id % 2) : 2;
}

static bool half_shows(uint32_t view, const struct node *peer)
{
	return view == 2 || !peer->d.user || half_of(peer) == view;
}

static bool half_route(uint32_t view, const struct node *peer, const struct net_prefix *route)
{
	(void)peer;
	return route->len || view == 0;
}

static void test_random_policy(void **state)
{
	struct policy_ops halves = policy_allow_all;

	(void)state;
	halves.view_of = half_of;
	halves.shows = half_shows;
	halves.shows_route = half_route;
	world_tailnet.policy = &halves;
	random_changes(8, 600);
	/* and without it, at run time */
	join(1, "one");
	report(1, "");
	open_stream(1);
	world_pass(SECOND_NS);
	world_tailnet.policy = &policy_allow_all;
	map_policy_changed(world_map);
	world_pass(SECOND_NS);
	compare();
	close_all();
}

/* ---- policies that change ------------------------------------------------------------------ */

static uint32_t third_of(const struct node *viewer)
{
	return (uint32_t)(viewer->d.id % 3);
}

static bool third_shows(uint32_t view, const struct node *peer)
{
	return third_of(peer) <= view;
}

static const char *third_filters(const struct node *node)
{
	return third_of(node) ? "{\"base\":[]}" : policy_allow_all.filters(node);
}

static const struct policy_ops policy_halves = {.view_of = half_of,
	.shows = half_shows,
	.shows_route = half_route,
	.filters = third_filters};
static const struct policy_ops policy_thirds = {
	.view_of = third_of, .shows = third_shows, .filters = third_filters};

static struct policy_ops changed;

/* In the ops that the tailnet has already, as an engine does it. */
static void change_policy(const struct policy_ops *to)
{
	changed = policy_allow_all;
	changed.view_of = to->view_of;
	changed.shows = to->shows;
	changed.shows_route = to->shows_route;
	changed.filters = to->filters;
	world_tailnet.policy = &changed;
	map_policy_changed(world_map);
}

static void compare_filters(void)
{
	for (unsigned m = 0; m < MACHINES; m++) {
		const struct client *c = streams[m];
		json_t *want;

		if (!c || c->ended || !node_of(m))
			continue;
		want = json_loads(changed.filters(node_of(m)), 0, NULL);
		assert_true(json_equal(want, c->filters));
		json_decref(want);
	}
}

static void test_random_policies(void **state)
{
	static const struct policy_ops *const all[] = {
		&policy_allow_all, &policy_halves, &policy_thirds};

	(void)state;
	begin(9);
	change_policy(&policy_thirds);
	for (unsigned i = 0; i < 800; i++) {
		any_change();
		if (!prng_below(&prng, 4))
			change_policy(all[prng_below(&prng, 3)]);
		if (i % 50 != 49)
			continue;
		catch_up_and_compare();
		compare_filters();
	}
	world_tailnet.policy = &policy_allow_all;
	map_policy_changed(world_map);
	close_all();
}

/* ---- single changes -------------------------------------------------------------------------- */

static bool shows_none(uint32_t view, const struct node *peer)
{
	(void)view, (void)peer;
	return false;
}

/* A policy that changes says what differs, to those for whom it does. */
static void test_policy_says_what_differs(void **state)
{
	struct policy_ops none = policy_allow_all;
	const struct map_stats *stats = map_stats(world_map);
	uint64_t full_maps;
	unsigned messages;

	(void)state;
	two_nodes();
	full_maps = stats->full_maps;
	messages = streams[1]->messages + streams[2]->messages;
	change_policy(&policy_allow_all);
	world_pass(SECOND_NS);
	assert_int_equal(streams[1]->messages + streams[2]->messages, messages);
	none.shows = shows_none;
	change_policy(&none);
	world_pass(SECOND_NS);
	assert_int_equal(streams[1]->messages + streams[2]->messages, messages + 2);
	assert_int_equal(json_object_size(streams[1]->peers), 0);
	none.filters = third_filters;
	change_policy(&none); /* one of the two ids is a multiple of three at most */
	world_pass(SECOND_NS);
	compare_filters();
	assert_true(streams[1]->messages + streams[2]->messages > messages + 2);
	change_policy(&policy_allow_all);
	world_pass(SECOND_NS);
	assert_non_null(peer_of(1, 2));
	compare_filters();
	compare();
	assert_int_equal(stats->full_maps, full_maps);
	assert_true(streams[1]->records <= 3);
	world_tailnet.policy = &policy_allow_all;
	map_policy_changed(world_map);
}

static void test_policy_brings_profiles(void **state)
{
	struct policy_ops none = policy_allow_all;

	(void)state;
	none.shows = shows_none;
	change_policy(&none);
	begin(1);
	for (unsigned m = 1; m <= 2; m++) {
		if (m == 2)
			make_key("bob");
		join(m, "node");
		open_stream(m);
		report(m, "");
	}
	world_pass(SECOND_NS);
	compare();
	change_policy(&policy_allow_all);
	world_pass(SECOND_NS);
	assert_non_null(peer_of(1, 2));
	compare();
	world_tailnet.policy = &policy_allow_all;
	map_policy_changed(world_map);
}

/* A poll under the old key goes on after the key was changed. */
static void test_rotation(void **state)
{
	(void)state;
	two_nodes();
	client_free(client_register(2, 2002, "two", key_member));
	node_keys[2] = 2002;
	world_pass(SECOND_NS);
	assert_false(streams[2]->ended);
	client_free(client_map(2, 2, MAP_REPORT, ",\"Endpoints\":[\"192.0.2.9:9\"]"));
	world_pass(SECOND_NS);
	compare();
	close_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rotation, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_random, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_random_policy, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_random_policies, world_start, world_stop),
		cmocka_unit_test_setup_teardown(
			test_policy_says_what_differs, world_start, world_stop),
		cmocka_unit_test_setup_teardown(
			test_policy_brings_profiles, world_start, world_stop),
	};

	jobs_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
