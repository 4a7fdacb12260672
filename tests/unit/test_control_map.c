/* SPDX-License-Identifier: BSD-3-Clause */
/* What streams show, rule by rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "control_streams.h"
#include "policy.h"
#include "record.h"
#include "times.h"

/* Each of two knows the other, was told once, and nothing is said when nothing is new. */
static void test_quiet(void **state)
{
	unsigned messages;

	(void)state;
	two_nodes();
	assert_non_null(peer_of(1, 2));
	assert_non_null(peer_of(2, 1));
	assert_true(streams[1]->records <= 2);
	messages = streams[1]->messages;
	report(2, ""); /* the same again */
	report(2, "");
	world_pass(SECOND_NS);
	assert_int_equal(streams[1]->messages, messages);
	/* latencies are nobody's business */
	report(2,
		",\"Hostinfo\":{\"Hostname\":\"two\",\"OS\":\"linux\",\"NetInfo\":{\"DERPLatency\":"
		"{\"1-v4\":0.1}}}");
	world_pass(SECOND_NS);
	messages = streams[1]->messages;
	report(2,
		",\"Hostinfo\":{\"Hostname\":\"two\",\"OS\":\"linux\",\"NetInfo\":{\"DERPLatency\":"
		"{\"1-v4\":0.2}}}");
	world_pass(SECOND_NS);
	assert_int_equal(streams[1]->messages, messages);
	/* new endpoints are a patch, fewer are nothing */
	report(2, ",\"Endpoints\":[\"192.0.2.1:1\",\"192.0.2.2:2\"]");
	world_pass(SECOND_NS);
	assert_int_equal(streams[1]->messages, messages + 1);
	assert_non_null(json_object_get(streams[1]->last, "PeersChangedPatch"));
	report(2, ",\"Endpoints\":[\"192.0.2.2:2\"]");
	world_pass(SECOND_NS);
	assert_int_equal(streams[1]->messages, messages + 1);
	close_all();
}

#define HOSTINFO(name) ",\"Hostinfo\":{\"Hostname\":\"" name "\",\"OS\":\"linux\"}"

static bool is_known(void)
{
	return !secret_is_zero(node_of(2)->said, sizeof(node_of(2)->said));
}

static void assert_hostname(const char *name)
{
	json_t *info = json_object_get(peer_of(1, 2), "Hostinfo");

	assert_string_equal(json_string_value(json_object_get(info, "Hostname")), name);
	assert_string_equal(node_of(2)->d.hostname, name);
}

/* What is said again is not read again, unless something else was said meanwhile. */
static void test_said(void **state)
{
	struct client *first, *second, *third;

	(void)state;
	two_nodes();
	report(2, HOSTINFO("alpha"));
	assert_true(is_known());
	report(2, HOSTINFO("alpha"));
	world_pass(SECOND_NS);
	assert_hostname("alpha");
	report(2, HOSTINFO("beta"));
	report(2, HOSTINFO("alpha"));
	world_pass(SECOND_NS);
	assert_hostname("alpha");
	/* while another one is under way */
	first = client_send_map(2, node_keys[2], MAP_REPORT, HOSTINFO("alpha"));
	second = client_send_map(2, node_keys[2], MAP_REPORT, HOSTINFO("beta"));
	third = client_send_map(2, node_keys[2], MAP_REPORT, HOSTINFO("alpha"));
	world_settle();
	client_free(first);
	client_free(second);
	client_free(third);
	world_pass(SECOND_NS);
	assert_hostname("alpha");
	/* a registration says it too */
	assert_true(is_known());
	join(2, "gamma");
	assert_false(is_known());
	report(2, HOSTINFO("alpha"));
	world_pass(SECOND_NS);
	assert_hostname("alpha");
	/* it is read at all only when it is new, and refused where it is no JSON */
	first = client_map(2, node_keys[2], MAP_REPORT, ",\"Hostinfo\":{\"Hostname\":beta}");
	assert_int_equal(first->status, 400);
	client_free(first);
	first = client_map(2, node_keys[2], MAP_REPORT, HOSTINFO("alpha") HOSTINFO("beta"));
	assert_int_equal(first->status, 400);
	client_free(first);
	assert_hostname("alpha");
	close_all();
}

static void test_keep_alive(void **state)
{
	(void)state;
	two_nodes();
	world_pass(62 * SECOND_NS);
	assert_int_equal(streams[1]->keep_alives, 1);
	world_pass(600 * SECOND_NS);
	assert_true(streams[1]->keep_alives >= 9 && streams[1]->keep_alives <= 14);
	close_all();
}

/* Clients judge expiries by the server's clock, which each full map tells them anew. */
static void test_clock(void **state)
{
	(void)state;
	two_nodes();
	for (unsigned i = 0; i < 2; i++) {
		const char *text;
		int64_t told;

		world_pass(3600 * SECOND_NS);
		close_stream(1);
		open_stream(1);
		text = json_string_value(json_object_get(streams[1]->last, "ControlTime"));
		assert_non_null(text);
		assert_true(time_text_parse(&told, text, strlen(text)));
		assert_in_range(world_wall() - told, 0, SECOND_NS);
	}
	close_all();
}

/* Online as long as there is a stream, and ten seconds more; an old stream's end means nothing. */
static void test_presence(void **state)
{
	struct client *old;

	(void)state;
	two_nodes();
	assert_true(json_is_true(json_object_get(peer_of(1, 2), "Online")));
	old = streams[2];
	streams[2] = NULL;
	open_stream(2);
	assert_true(old->ended);
	client_free(old);
	world_pass(30 * SECOND_NS);
	assert_true(json_is_true(json_object_get(peer_of(1, 2), "Online")));
	close_stream(2);
	world_pass(9 * SECOND_NS);
	assert_true(json_is_true(json_object_get(peer_of(1, 2), "Online")));
	world_pass(2 * SECOND_NS);
	assert_true(json_is_false(json_object_get(peer_of(1, 2), "Online")));
	assert_non_null(json_object_get(peer_of(1, 2), "LastSeen"));
	open_stream(2);
	world_pass(SECOND_NS);
	assert_true(json_is_true(json_object_get(peer_of(1, 2), "Online")));
	close_all();
}

/* The deleted node is told, and its stream ends; others see it go. */
static void test_removed(void **state)
{
	int64_t id;

	(void)state;
	two_nodes();
	id = node_of(2)->d.id;
	node_remove(&world_tailnet, id, NULL, NULL);
	world_pass(SECOND_NS);
	assert_true(streams[2]->ended);
	assert_string_equal(json_string_value(json_object_get(streams[2]->node, "KeyExpiry")),
		"1970-01-01T00:00:01Z");
	assert_int_equal(json_object_size(streams[1]->peers), 0);
	close_all();
}

/* What a node says of itself reaches others as they can read it, whatever it is: one value of a
 * kind that a client does not expect would cost it the whole map. */
static void test_hostile_hostinfo(void **state)
{
	static const char said[] =
		",\"Endpoints\":[7,\"192.0.2.1:1\",\"nonsense\",\"[fe80::1%eth0]:1\",null],"
		"\"Hostinfo\":{\"Hostname\":\"two\",\"OS\":5,\"os\":5,\"App\":[\"x\"],\"Desktop\":"
		"\"yes\","
		"\"Userspace\":true,\"WoLMACs\":\"x\",\"sshHostKeys\":[1,\"ssh-ed25519 "
		"AAAA\",null],"
		"\"Services\":[{\"Proto\":\"peerapi4\",\"Port\":1234},{\"Proto\":\"peerapi6\","
		"\"Port\":70000},{\"Proto\":3,\"Port\":1.5},7],\"Location\":{\"Country\":9,"
		"\"Latitude\":1.5,\"Priority\":1e3},\"RoutableIPs\":[\"10.0.0.0\",3],\"Unknown\":{"
		"\"a\":[]},"
		"\"NetInfo\":{\"PreferredDERP\":\"x\"},\"RequestTags\":\"tag:x\",\"TPM\":7}";
	static const char shown[] =
		"{\"Hostname\":\"two\",\"Userspace\":true,"
		"\"sshHostKeys\":[\"ssh-ed25519 AAAA\"],\"Services\":[{\"Proto\":\"peerapi4\","
		"\"Port\":1234},{\"Proto\":\"peerapi6\"},{}],\"Location\":{\"Latitude\":1.5}}";
	json_t *want = json_loads(shown, 0, NULL),
	       *endpoints = json_loads("[\"192.0.2.1:1\"]", 0, NULL);

	(void)state;
	two_nodes();
	report(2, said);
	world_pass(SECOND_NS);
	assert_true(json_equal(json_object_get(peer_of(1, 2), "Hostinfo"), want));
	assert_true(json_equal(json_object_get(peer_of(1, 2), "Endpoints"), endpoints));
	json_decref(want);
	json_decref(endpoints);
	close_all();
}

static bool node_can(unsigned machine, const char *capability)
{
	return json_object_get(json_object_get(streams[machine]->node, "CapMap"), capability);
}

static bool keeps_logs_to_itself(unsigned machine)
{
	return json_is_true(json_object_get(
		json_object_get(streams[machine]->last, "Debug"), "DisableLogTail"));
}

/* Files between nodes, updates, logs for the client's maker: as set, and at once when it changes.
 */
static void test_capabilities(void **state)
{
	static const char taildrop[] = "https://tailscale.com/cap/file-sharing";
	struct map_conf conf = world_map_conf();

	(void)state;
	conf.taildrop = true;
	map_configure(world_map, &conf);
	two_nodes();
	open_stream(1);
	assert_true(node_can(1, taildrop) && node_can(1, "https://tailscale.com/cap/ssh"));
	assert_false(node_can(1, "funnel"));
	assert_true(keeps_logs_to_itself(1));
	conf.taildrop = false;
	map_configure(world_map, &conf);
	world_pass(SECOND_NS);
	assert_false(node_can(1, taildrop));
	assert_true(keeps_logs_to_itself(1));
	conf.log_tail = true;
	map_configure(world_map, &conf);
	world_pass(SECOND_NS);
	assert_false(keeps_logs_to_itself(1));
	conf.log_tail = false;
	map_configure(world_map, &conf);
	world_pass(SECOND_NS);
	assert_true(keeps_logs_to_itself(1));
	assert_true(json_is_false(json_array_get(
		json_object_get(json_object_get(streams[1]->node, "CapMap"), "default-auto-update"),
		0)));
	close_all();
}

/* Expired: told, the poll goes on, and an extension needs no login. */
static void test_expired(void **state)
{
	int64_t id;

	(void)state;
	two_nodes();
	id = node_of(2)->d.id;
	node_expire(&world_tailnet, id, world_wall() - 5, NULL, NULL);
	world_pass(SECOND_NS);
	assert_false(streams[2]->ended);
	assert_non_null(json_object_get(streams[2]->node, "KeyExpiry"));
	assert_non_null(json_object_get(peer_of(1, 2), "KeyExpiry"));
	open_stream(2);
	assert_false(streams[2]->ended);
	node_expire(&world_tailnet, id, 0, NULL, NULL);
	world_pass(SECOND_NS);
	assert_null(json_object_get(streams[2]->node, "KeyExpiry"));
	assert_null(json_object_get(peer_of(1, 2), "KeyExpiry"));
	close_all();
}

/* The primary of a subnet: the first, until its stream ends; back it does not take it away. */
static void test_failover(void **state)
{
	static const char routes[] =
		",\"Hostinfo\":{\"Hostname\":\"r\",\"RoutableIPs\":[\"10.1.0.0/16\"]}";
	struct net_prefix prefix;

	(void)state;
	net_prefix_parse(&prefix, "10.1.0.0/16");
	two_nodes();
	join(3, "three");
	open_stream(3);
	report(3, "");
	for (unsigned m = 1; m <= 2; m++) {
		report(m, routes);
		node_approve_routes(&world_tailnet, node_of(m)->d.id, &prefix, 1, NULL, NULL);
	}
	world_pass(SECOND_NS);
	assert_non_null(json_object_get(peer_of(3, 1), "PrimaryRoutes"));
	assert_null(json_object_get(peer_of(3, 2), "PrimaryRoutes"));
	close_stream(1);
	world_pass(1 * SECOND_NS);
	assert_non_null(json_object_get(peer_of(3, 1), "PrimaryRoutes"));
	world_pass(2 * SECOND_NS);
	assert_null(json_object_get(peer_of(3, 1), "PrimaryRoutes"));
	assert_non_null(json_object_get(peer_of(3, 2), "PrimaryRoutes"));
	assert_int_equal(json_array_size(json_object_get(peer_of(3, 1), "AllowedIPs")), 2);
	assert_int_equal(json_array_size(json_object_get(peer_of(3, 2), "AllowedIPs")), 3);
	open_stream(1);
	world_pass(20 * SECOND_NS);
	assert_non_null(json_object_get(peer_of(3, 2), "PrimaryRoutes"));
	/* silent: probed */
	node_probed(&world_tailnet, node_of(2), false);
	world_pass(SECOND_NS);
	assert_non_null(json_object_get(peer_of(3, 1), "PrimaryRoutes"));
	close_all();
}

/* A restart moves no subnet, whoever is back first; one that does not come back loses it. */
static void test_failover_over_a_restart(void **state)
{
	static const char routes[] =
		",\"Hostinfo\":{\"Hostname\":\"r\",\"RoutableIPs\":[\"10.1.0.0/16\"]}";
	struct tailnet_conf conf = world_tailnet_conf();
	struct net_prefix prefix;

	(void)state;
	net_prefix_parse(&prefix, "10.1.0.0/16");
	two_nodes();
	join(3, "three");
	for (unsigned m = 1; m <= 2; m++) {
		report(m, routes);
		node_approve_routes(&world_tailnet, node_of(m)->d.id, &prefix, 1, NULL, NULL);
	}
	world_pass(SECOND_NS);
	close_stream(1); /* 2 has it now, which is not the first by its id */
	world_pass(3 * SECOND_NS);
	open_stream(1);
	world_pass(3 * SECOND_NS);
	assert_string_equal(node_of(2)->d.served, "[\"10.1.0.0/16\"]");
	assert_string_equal(node_of(1)->d.served, "[]");
	for (unsigned round = 0; round < 2; round++) {
		tailnet_stopping(&world_tailnet);
		close_stream(2); /* a stop that takes its time */
		world_pass(5 * SECOND_NS);
		close_all();
		world_again(&conf);
		open_stream(1);
		open_stream(3);
		world_pass(SECOND_NS);
		assert_null(json_object_get(peer_of(3, 1), "PrimaryRoutes"));
		assert_non_null(json_object_get(peer_of(3, 2), "PrimaryRoutes"));
		if (!round)
			open_stream(2);
		world_pass(30 * SECOND_NS);
	}
	assert_non_null(json_object_get(peer_of(3, 1), "PrimaryRoutes"));
	assert_null(json_object_get(peer_of(3, 2), "PrimaryRoutes"));
	assert_string_equal(node_of(1)->d.served, "[\"10.1.0.0/16\"]");
	close_all();
}

/* Nobody sees one that waits for approval, and it sees nobody. */
static void test_approval(void **state)
{
	struct tailnet_conf conf = world_tailnet_conf();

	(void)state;
	two_nodes();
	conf.device_approval = true;
	tailnet_configure(&world_tailnet, &conf);
	join(3, "three");
	open_stream(3);
	report(3, "");
	world_pass(SECOND_NS);
	assert_true(json_is_false(json_object_get(streams[3]->node, "MachineAuthorized")));
	assert_int_equal(json_object_size(streams[3]->peers), 0);
	assert_null(peer_of(1, 3));
	node_approve(&world_tailnet, node_of(3)->d.id, true, NULL, NULL);
	world_pass(SECOND_NS);
	assert_true(json_is_true(json_object_get(streams[3]->node, "MachineAuthorized")));
	assert_int_equal(json_object_size(streams[3]->peers), 2);
	assert_non_null(peer_of(1, 3));
	close_all();
}

/* Many: blocks, pieces, the recipient's own place in each, and what joining costs in records. */
/* A client's first report says little, and the next comes at once: others are told once. */
static void test_settle(void **state)
{
	(void)state;
	world_tailnet.conf.settle = 300000000;
	make_key("alice");
	for (unsigned i = 1; i <= 3; i++) {
		join(i, "host");
		open_stream(i);
		report(i, i == 1 ? ",\"Endpoints\":[\"192.0.2.1:1\"]" : "");
		world_pass(SECOND_NS / 10);
	}
	assert_int_equal(streams[1]->records, 0);
	assert_int_equal(json_object_size(streams[3]->peers), 1);
	report(2, ",\"Hostinfo\":{\"Hostname\":\"host\",\"OS\":\"linux\",\"NetInfo\":{"
		  "\"PreferredDERP\":1}}");
	world_pass(SECOND_NS / 20);
	assert_int_equal(streams[1]->records, 1);
	/* it never says where it is */
	world_pass(SECOND_NS / 2);
	assert_int_equal(streams[1]->records, 2);
	assert_int_equal(json_object_size(streams[2]->peers), 2);
	for (unsigned i = 1; i <= 3; i++)
		close_stream(i);
}

/* A record is counted for each who is told, also while few nodes show yet. */
static void test_counts(void **state)
{
	enum { ALL = 5 };
	const struct map_stats *stats = map_stats(world_map);
	struct client *all[ALL];
	uint64_t counted = stats->full_records + stats->delta_records;
	size_t told = 0;

	(void)state;
	make_key("alice");
	for (unsigned i = 0; i < ALL; i++) {
		client_free(client_register(i, i, "host", key_member));
		all[i] = client_map(i, i, MAP_STREAM, "");
	}
	world_pass(SECOND_NS);
	for (unsigned i = 0; i < ALL; i++) {
		client_free(client_map(i, i, MAP_REPORT, ""));
		world_pass(SECOND_NS);
	}
	counted = stats->full_records + stats->delta_records - counted;
	for (unsigned i = 0; i < ALL; i++) {
		told += all[i]->records;
		client_free(all[i]);
	}
	assert_true(told >= ALL * (ALL - 1));
	assert_in_range(counted, told, told + 2 * ALL); /* each's own is among them */
}

static void test_many(void **state)
{
	enum { MANY = 330 };
	static struct client *all[MANY];
	size_t records = 0;

	(void)state;
	make_key("alice");
	for (unsigned i = 0; i < MANY; i++) {
		client_free(client_register(i, i, "host", key_member));
		all[i] = client_map(i, i, MAP_STREAM, "");
		client_free(client_map(i, i, MAP_REPORT, ""));
		if (i % 50 == 49)
			world_pass(100 * 1000000ull);
	}
	world_pass(SECOND_NS);
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(json_object_size(all[i]->peers), MANY - 1);
		assert_false(all[i]->found_itself);
		assert_true(all[i]->frames_max <= 40);
		records += all[i]->records;
	}
	assert_true(records <= (size_t)MANY * (MANY - 1) * 12 / 10);
	/* all at once: everybody is in the delta */
	for (unsigned i = 0; i < MANY; i++)
		node_expire(
			&world_tailnet, (int64_t)i + 1, world_wall() + 3600000000000, NULL, NULL);
	world_settle();
	for (unsigned i = 0; i < MANY; i++) {
		char label[20];

		snprintf(label, sizeof(label), "renamed-%u", i);
		node_rename(&world_tailnet, (int64_t)i + 1, label, NULL, NULL);
	}
	world_pass(SECOND_NS);
	for (unsigned i = 0; i < MANY; i++) {
		const char *key;
		json_t *peer;

		assert_false(all[i]->found_itself);
		json_object_foreach (all[i]->peers, key, peer) {
			assert_memory_equal(
				json_string_value(json_object_get(peer, "Name")), "renamed-", 8);
		}
	}
	for (unsigned i = 0; i < MANY; i++)
		client_free(all[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_quiet, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_said, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_keep_alive, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_clock, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_presence, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_removed, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_hostile_hostinfo, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_capabilities, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_expired, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_failover, world_start, world_stop),
		cmocka_unit_test_setup_teardown(
			test_failover_over_a_restart, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_approval, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_settle, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_counts, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_many, world_start, world_stop),
	};

	jobs_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
