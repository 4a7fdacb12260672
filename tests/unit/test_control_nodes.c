/* SPDX-License-Identifier: BSD-3-Clause */
/* What registered nodes are given and keep: owners, tags, names, addresses, over restarts and
 * upgrades. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <sqlite3.h>

#include "registrations.h"

static struct client *client_with_tags(unsigned machine, const char *tag, const char *key)
{
	char node[KEY_TEXT_SIZE], body[1024];
	struct public_key node_key = world_key('n', machine);

	snprintf(body, sizeof(body),
		"{\"Version\":140,\"NodeKey\":\"%s\",\"Auth\":{\"AuthKey\":\"%s\"},"
		"\"Hostinfo\":{\"Hostname\":\"tags\",\"RequestTags\":[\"%s\"]}}",
		key_text_format(node, KEY_TEXT_NODE, &node_key), key, tag);
	return client_ask(machine, "POST", "/machine/register", body);
}

/* A machine under two users is two nodes; a tagged key makes it nobody's. */
static void test_owners(void **state)
{
	const char *tags[] = {"tag:web", "tag:prod"};
	struct preauth_wish wish = {.reusable = true, .tags = tags, .n_tags = 2};
	struct world_outcome out = world_preauth(&wish);
	char member[200];
	struct node *tagged;

	(void)state;
	client_free(client_register(1, 1, "pc", key_of("alice", true)));
	client_free(client_register(1, 2, "pc", key_of("bob", true)));
	assert_int_equal(world_tailnet.n_nodes, 2);
	assert_non_null(node_by_label(&world_tailnet, "pc-1"));
	snprintf(member, sizeof(member), ",\"Auth\":{\"AuthKey\":\"%s\"}", out.secret);
	expect_reply(client_register(3, 3, "web", member), "tagged-devices");
	tagged = only_node(3);
	assert_null(tagged->user);
	assert_string_equal(tagged->d.tags, "[\"tag:web\",\"tag:prod\"]");
	/* a user's node becomes tagged by such a key, under its key */
	expect_reply(client_register(1, 2, "pc", member), "tagged-devices");
	assert_int_equal(world_tailnet.n_nodes, 3);
	/* tags that are asked for need a permission, unless the node has them */
	wish = (struct preauth_wish){.user = 1, .reusable = true};
	out = world_preauth(&wish);
	expect_reply(client_with_tags(4, "tag:root", out.secret), "[tag:root] are invalid or not");
	expect_reply(client_with_tags(3, "tag:root", ""), "tagged-devices");
	assert_string_equal(only_node(3)->d.tags, "[\"tag:web\",\"tag:prod\"]");
	assert_int_equal(world_tailnet.n_nodes, 3);
}

/* Ten machines of one name, and a full pool. */
static void test_names_and_addresses(void **state)
{
	const char *key = key_of("alice", true);
	struct tailnet_conf conf = world_tailnet_conf();
	char name[16];

	(void)state;
	net_prefix_parse(&conf.v4, "100.64.0.0/28");
	tailnet_configure(&world_tailnet, &conf);
	for (unsigned i = 1; i <= 14; i++)
		expect_reply(client_register(i, i, "localhost", key), "\"MachineAuthorized\":true");
	for (unsigned i = 1; i <= 13; i++) {
		snprintf(name, sizeof(name), "localhost-%u", i);
		assert_non_null(node_by_label(&world_tailnet, name));
	}
	client_free(client_register(15, 15, "one-too-many", key));
	assert_int_equal(world_tailnet.n_nodes, 14);
	/* a failure burnt nothing: the next one fits, once there is room */
	{
		struct world_outcome out = {0};

		node_remove(&world_tailnet, 3, world_note, &out);
		world_settle();
		assert_int_equal(out.error, 0);
	}
	expect_reply(client_register(16, 16, "fits", key), "\"MachineAuthorized\":true");
	assert_true(net_addr_equal(&only_node(16)->d.v4,
		&(struct net_addr){.family = AF_INET, .bytes = {100, 64, 0, 3}}));
	assert_true(only_node(16)->d.id > 14); /* ids are never used again */
}

/* Out of pools of our own; what has a meaning of its own in them is nobody's. */
static void test_random_addresses(void **state)
{
	const char *key = key_of("alice", true);
	struct tailnet_conf conf = world_tailnet_conf();
	struct net_addr first = {.family = AF_INET, .bytes = {100, 64, 0, 1}};
	char text[NET_ADDR_STRLEN];
	unsigned last = 0;

	(void)state;
	conf.allocation = ALLOCATE_RANDOM;
	tailnet_configure(&world_tailnet, &conf);
	client_free(client_register(1, 1, "a", key));
	client_free(client_register(2, 2, "b", key));
	/* one of four million, twice */
	assert_false(net_addr_equal(&only_node(1)->d.v4, &first) ||
		     net_addr_equal(&only_node(2)->d.v4, &first));
	/* to the last one of a pool */
	net_prefix_parse(&conf.v4, "100.100.200.0/29");
	net_prefix_parse(&conf.v6, "fd7a:115c:a1e0:7::/64");
	tailnet_configure(&world_tailnet, &conf);
	for (unsigned i = 11; i <= 16; i++)
		expect_reply(client_register(i, i, "c", key), "\"MachineAuthorized\":true");
	for (unsigned i = 11; i <= 16; i++) {
		net_addr_format(&only_node(i)->d.v4, text);
		assert_memory_equal(text, "100.100.200.", 12);
		last |= 1u << only_node(i)->d.v4.bytes[3];
		net_addr_format(&only_node(i)->d.v6, text);
		assert_memory_equal(text, "fd7a:115c:a1e0:7:", 17);
	}
	assert_int_equal(last, 0x7e);
	net_prefix_parse(&conf.v4, "100.100.100.0/24");
	tailnet_configure(&world_tailnet, &conf);
	client_free(client_register(17, 17, "d", key));
	assert_int_equal(world_tailnet.n_nodes, 8);
}

static void backfill(const struct node *node)
{
	struct world_outcome out = {0};

	node_backfill(&world_tailnet, node->d.id, world_note, &out);
	world_settle();
	assert_true(out.done && !out.error);
}

/* A family without a pool; it comes, and another goes. */
static void test_one_family(void **state)
{
	const char *key = key_of("alice", true);
	struct tailnet_conf conf = world_tailnet_conf();
	const struct net_prefix v6 = conf.v6;
	char text[NET_ADDR_STRLEN];

	(void)state;
	conf.v6 = (struct net_prefix){0};
	tailnet_configure(&world_tailnet, &conf);
	client_free(client_register(1, 1, "a", key));
	assert_true(only_node(1)->d.v4.family && !only_node(1)->d.v6.family);
	conf.v6 = v6;
	tailnet_configure(&world_tailnet, &conf);
	backfill(only_node(1));
	assert_string_equal(net_addr_format(&only_node(1)->d.v4, text), "100.64.0.1");
	assert_string_equal(net_addr_format(&only_node(1)->d.v6, text), "fd7a:115c:a1e0::1");
	conf.v4 = (struct net_prefix){0};
	tailnet_configure(&world_tailnet, &conf);
	backfill(only_node(1));
	assert_true(!only_node(1)->d.v4.family && only_node(1)->d.v6.family);
	world_again(&conf);
	assert_true(!only_node(1)->d.v4.family && only_node(1)->d.v6.family);
	client_free(client_register(2, 2, "b", key));
	assert_true(!only_node(2)->d.v4.family && only_node(2)->d.v6.family);
}

/* What is acknowledged is there after a restart, and ids go on. */
static void test_restart(void **state)
{
	const char *key = key_of("alice", true);
	struct tailnet_conf conf = world_tailnet_conf();
	struct world_outcome out = {0};

	(void)state;
	client_free(client_register(1, 1, "a", key));
	client_free(client_register(2, 2, "b", key));
	client_free(client_map(2, 2, MAP_REPORT, ",\"Endpoints\":[\"192.0.2.1:41641\"]"));
	node_remove(&world_tailnet, 2, world_note, &out);
	world_settle();
	client_free(client_register(1, 1, "renamed", ""));
	world_again(&conf);
	assert_int_equal(world_tailnet.n_nodes, 1);
	assert_string_equal(only_node(1)->d.label, "renamed");
	expect_reply(client_register(1, 1, "renamed", ""), "\"LoginName\":\"alice\"");
	expect_reply(client_register(3, 3, "c", key), "\"MachineAuthorized\":true");
	assert_int_equal(only_node(3)->d.id, 3);
	out = (struct world_outcome){0};
	user_remove(&world_tailnet, 1, world_note, &out);
	world_settle();
	assert_int_equal(out.error, -EBUSY);
}

/* Two that each cannot know of the other: the store decides, and says so to the later one. */
static void test_removal_of_a_user_who_gets_a_node(void **state)
{
	const char *key = key_of("alice", true);
	struct world_outcome out = {0};
	struct client *c;

	(void)state;
	c = client_send_register(1, 1, "a", key);
	user_remove(&world_tailnet, 1, world_note, &out);
	world_settle();
	assert_int_equal(out.error, -EBUSY);
	expect_reply(c, "\"MachineAuthorized\":true");
	node_remove(&world_tailnet, 1, NULL, NULL);
	world_settle();
	user_remove(&world_tailnet, 1, world_note, &out);
	c = client_send_register(1, 1, "a", key);
	world_settle();
	assert_int_equal(out.error, 0);
	expect_reply(c, "\"Error\":\"the pre-auth key");
	assert_int_equal(
		world_tailnet.n_nodes + world_tailnet.n_users + world_tailnet.n_preauths, 0);
}

static void exec_file(const char *path)
{
	char *sql = calloc(1, 65536), db_path[120];
	FILE *f = fopen(path, "r");
	sqlite3 *db;

	assert_non_null(f);
	assert_true(fread(sql, 1, 65535, f) > 0);
	fclose(f);
	snprintf(db_path, sizeof(db_path), "%s/state/db.sqlite", world_folder);
	remove(db_path);
	assert_int_equal(sqlite3_open(db_path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	free(sql);
}

/* A store of each earlier version is brought up to date, whole. */
static void test_upgrades(void **state)
{
	static const char *const versions[] = {DATA_DIR "/control-1.sql"};
	struct tailnet_conf conf = world_tailnet_conf();
	const struct node *node;

	(void)state;
	for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
		world_close();
		store_stop();
		exec_file(versions[i]);
		world_store_open();
		world_open(&conf);
		assert_int_equal(world_tailnet.n_nodes, 2);
		assert_int_equal(world_tailnet.n_users, 1);
		assert_int_equal(world_tailnet.n_preauths, 1);
		assert_int_equal(world_tailnet.n_apikeys, 1);
		node = node_by_label(&world_tailnet, "one");
		assert_string_equal(node->user->d.name, "alice");
		assert_int_equal(node->n_routes, 1);
		assert_string_equal(node->d.served, "[]");
		node = node_by_id(&world_tailnet, 3);
		assert_true(node->d.ephemeral && node_has_tag(node, "tag:x"));
		/* and it is written to as any */
		expect_reply(client_register(4, 4, "four", key_of("bob", false)),
			"\"LoginName\":\"bob\"");
		assert_int_equal(only_node(4)->d.id, 4);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_owners, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_names_and_addresses, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_random_addresses, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_one_family, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_restart, world_start, world_stop),
		cmocka_unit_test_setup_teardown(
			test_removal_of_a_user_who_gets_a_node, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_upgrades, world_start, world_stop),
	};

	jobs_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
