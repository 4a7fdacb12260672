/* SPDX-License-Identifier: BSD-3-Clause */
/* How machines become nodes: each flow of the protocol, and what must not happen in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "registrations.h"

#define HOUR 3600000000000ull

static void test_auth_key(void **state)
{
	const char *key = key_of("alice", false);
	const struct node *node;
	char text[NET_ADDR_STRLEN];

	(void)state;
	expect_reply(client_register(1, 1, "Web Server.local", key), "\"LoginName\":\"alice\"");
	node = only_node(1);
	assert_string_equal(node->d.label, "web-server");
	assert_string_equal(net_addr_format(&node->d.v4, text), "100.64.0.1");
	assert_string_equal(net_addr_format(&node->d.v6, text), "fd7a:115c:a1e0::1");
	assert_int_equal(node->d.id, 1);
	/* spent, for another machine; not in the way of the same one that starts again */
	expect_reply(client_register(2, 2, "other", key), "used already");
	expect_reply(client_register(1, 1, "web", key), "\"MachineAuthorized\":true");
	assert_string_equal(only_node(1)->d.label, "web");
	/* who did not hear that asks again, with a new node key; it heard once it has a map */
	expect_reply(client_register(1, 3, "web", key), "\"MachineAuthorized\":true");
	expect_reply(client_register(2, 2, "other", key), "used already");
	world_pass(61 * 1000000000ull);
	expect_reply(client_register(1, 4, "web", key), "used already");
	assert_int_equal(world_tailnet.n_nodes, 1);
	key = key_of("bob", false);
	expect_reply(client_register(5, 5, "box", key), "\"MachineAuthorized\":true");
	client_free(client_map(5, 5, MAP_STREAM, ""));
	expect_reply(client_register(5, 6, "box", key), "used already");
}

static void test_bad_keys(void **state)
{
	struct preauth_wish wish = {
		.user = world_user("alice"), .expiry = world_wall() + (int64_t)HOUR};
	struct world_outcome out = world_preauth(&wish), gone = {0};
	char member[200];

	(void)state;
	expect_reply(
		client_register(1, 1, "a", ",\"Auth\":{\"AuthKey\":\"nonsense\"}"), "not known");
	snprintf(member, sizeof(member), ",\"Auth\":{\"AuthKey\":\"%s\"}", out.secret);
	member[strlen(member) - 4] ^= 1; /* another secret behind the right prefix */
	expect_reply(client_register(1, 1, "a", member), "not known");
	member[strlen(member) - 4] ^= 1;
	world_pass(2 * HOUR);
	expect_reply(client_register(1, 1, "a", member), "has expired");
	preauth_expire(&world_tailnet, out.id, world_note, &gone);
	world_settle();
	assert_int_equal(gone.error, 0);
	expect_reply(client_register(1, 1, "a", member), "revoked");
	assert_int_equal(world_tailnet.n_nodes, 0);
}

/* A revoked key is listed for a while; one that has merely expired stays. */
static void test_revoked_keys_leave(void **state)
{
	struct preauth_wish wish = {
		.user = world_user("alice"), .expiry = world_wall() + (int64_t)HOUR};
	int64_t expired = world_preauth(&wish).id, first = world_preauth(&wish).id,
		second = world_preauth(&wish).id;
	struct tailnet_conf conf = world_tailnet_conf();
	struct world_outcome gone = {0};

	(void)state;
	conf.revoked_retention = 10 * HOUR;
	tailnet_configure(&world_tailnet, &conf);
	preauth_expire(&world_tailnet, first, world_note, &gone);
	world_pass(5 * HOUR);
	preauth_expire(&world_tailnet, second, world_note, &gone);
	world_pass(5 * HOUR - HOUR / 60);
	assert_non_null(preauth_by_id(&world_tailnet, first));
	world_pass(HOUR / 30);
	assert_null(preauth_by_id(&world_tailnet, first));
	assert_non_null(preauth_by_id(&world_tailnet, second));
	world_again(&conf);
	assert_null(preauth_by_id(&world_tailnet, first));
	world_pass(5 * HOUR);
	assert_null(preauth_by_id(&world_tailnet, second));
	assert_non_null(preauth_by_id(&world_tailnet, expired));
}

/* Ten at once with a key for one. */
static void test_spent_once(void **state)
{
	const char *key = key_of("alice", false);

	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		char node[KEY_TEXT_SIZE], *body;
		struct public_key node_key = world_key('n', i);
		struct client *c = calloc(1, sizeof(*c));

		assert_true(asprintf(&body, "{\"Version\":140,\"NodeKey\":\"%s\"%s}",
				    key_text_format(node, KEY_TEXT_NODE, &node_key), key) > 0);
		c->rpc = (struct rpc){.machine = world_key('m', i),
			.version = 140,
			.method = "POST",
			.path = "/machine/register",
			.query = "",
			.body = (uint8_t *)body,
			.body_len = strlen(body)};
		server_request(&world_server, &c->rpc);
		c->gone = true; /* nobody waits: the server still decides */
		server_closed(&c->rpc);
		client_free(c);
	}
	world_settle();
	assert_int_equal(world_tailnet.n_nodes, 1);
	assert_int_equal(world_server.stats.refused, 9);
}

static void test_person(void **state)
{
	int64_t alice = world_user("alice");
	struct client *c = client_register(1, 1, "laptop", ""), *wait, *thief;
	struct world_outcome out = {0};
	char url[200], id[AUTH_ID_SIZE], member[300];

	(void)state;
	assert_int_equal(sscanf(strstr(c->reply, "AuthURL"), "AuthURL\":\"%199[^\"]", url), 1);
	assert_memory_equal(url, "http://control.test/register/", 29);
	snprintf(id, sizeof(id), "%.38s", url + 29);
	client_free(c);
	snprintf(member, sizeof(member), ",\"Followup\":\"%s\"", url);
	wait = client_register(1, 1, "laptop", member);
	assert_false(wait->replied);
	/* another machine learns nothing by the same URL: it gets one of its own */
	thief = client_register(2, 1, "laptop", member);
	assert_true(thief->replied);
	assert_null(strstr(thief->reply, id));
	client_free(thief);
	/* the client starts again, and asks again */
	client_free(wait);
	wait = client_register(1, 1, "laptop", member);
	assert_false(wait->replied);
	pending_register(&world_tailnet, id, alice, world_note, &out);
	world_settle();
	assert_int_equal(out.error, 0);
	expect_reply(wait, "\"LoginName\":\"alice\"");
	/* a late ask finds the result */
	expect_reply(client_register(1, 1, "laptop", member), "\"LoginName\":\"alice\"");
	assert_int_equal(only_node(1)->d.method, REGISTER_METHOD_CLI);
	out = (struct world_outcome){0};
	pending_register(&world_tailnet, id, alice, world_note, &out);
	assert_int_equal(out.error, -EALREADY);
}

static void test_rejected_and_late(void **state)
{
	struct client *c = client_register(1, 1, "laptop", "");
	char url[200], member[300];

	(void)state;
	sscanf(strstr(c->reply, "AuthURL"), "AuthURL\":\"%199[^\"]", url);
	client_free(c);
	snprintf(member, sizeof(member), ",\"Followup\":\"%s\"", url);
	c = client_register(1, 1, "laptop", member);
	assert_int_equal(pending_reject(&world_tailnet, url + 29, "not you"), 0);
	world_settle();
	expect_reply(c, "not you");
	/* one that nobody decides ends with a new address */
	c = client_register(3, 3, "slow", "");
	sscanf(strstr(c->reply, "AuthURL"), "AuthURL\":\"%199[^\"]", url);
	client_free(c);
	snprintf(member, sizeof(member), ",\"Followup\":\"%s\"", url);
	c = client_register(3, 3, "slow", member);
	world_pass(901ull * 1000000000);
	assert_true(c->replied);
	assert_non_null(strstr(c->reply, "AuthURL"));
	assert_null(strstr(c->reply, url));
	client_free(c);
}

/* Bounded, the oldest leave: those who came last are let in, and who asks again gets a new page. */
static void test_ten_thousand_pending(void **state)
{
	const unsigned n = 10000, kept = world_tailnet_conf().pending_max;
	int64_t alice = world_user("alice");
	struct world_outcome out = {0};
	char first[200], last[200], member[300];
	struct client *c;

	(void)state;
	for (unsigned i = 1; i <= n; i++) {
		c = client_register(i, i, "flood", "");
		if (i == 1)
			sscanf(strstr(c->reply, "AuthURL"), "AuthURL\":\"%199[^\"]", first);
		if (i == n)
			sscanf(strstr(c->reply, "AuthURL"), "AuthURL\":\"%199[^\"]", last);
		client_free(c);
		assert_true(world_tailnet.n_pending <= kept);
	}
	assert_int_equal(world_tailnet.n_pending, kept);
	assert_null(pending_by_id(&world_tailnet, first + 29));
	snprintf(member, sizeof(member), ",\"Followup\":\"%s\"", first);
	c = client_register(1, 1, "flood", member);
	assert_non_null(strstr(c->reply, "AuthURL"));
	assert_null(strstr(c->reply, first));
	client_free(c);
	pending_register(&world_tailnet, last + 29, alice, world_note, &out);
	world_settle();
	assert_int_equal(out.error, 0);
	assert_string_equal(only_node(n)->user->d.name, "alice");
}

static void test_expiry(void **state)
{
	const char *key = key_of("alice", true);
	struct world_outcome out = {0};
	char old[KEY_TEXT_SIZE], member[400];
	struct public_key first = world_key('n', 1);
	int64_t id;

	(void)state;
	client_free(client_register(1, 1, "a", key));
	id = only_node(1)->d.id;
	node_expire(&world_tailnet, id, world_wall(), world_note, &out);
	world_settle();
	assert_int_equal(out.error, 0);
	expect_reply(client_register(1, 1, "a", ""), "\"NodeKeyExpired\":true");
	/* with a new key: never NodeKeyExpired again, and the same node */
	snprintf(member, sizeof(member), ",\"OldNodeKey\":\"%s\"",
		key_text_format(old, KEY_TEXT_NODE, &first));
	expect_reply(client_register(1, 2, "a", member), "AuthURL");
	strcat(member, key);
	expect_reply(client_register(1, 2, "a", member), "\"NodeKeyExpired\":false");
	assert_int_equal(only_node(1)->d.id, id);
	assert_int_equal(only_node(1)->d.expiry, 0);
	/* no restart moves the expiry away, but it may come nearer */
	snprintf(member, sizeof(member), ",\"X\":0");
	out = (struct world_outcome){0};
	node_expire(&world_tailnet, id, world_wall() + (int64_t)HOUR, world_note, &out);
	world_settle();
	expect_reply(client_register(1, 2, "a", ""), "\"MachineAuthorized\":true");
	assert_true(only_node(1)->d.expiry > world_wall());
	world_pass(2 * HOUR);
	expect_reply(client_register(1, 2, "a", ""), "\"NodeKeyExpired\":true");
}

static struct client *client_logout(unsigned machine, unsigned key, const char *more)
{
	char node[KEY_TEXT_SIZE], body[1024];
	struct public_key node_key = world_key('n', key);

	snprintf(body, sizeof(body),
		"{\"Version\":140,\"NodeKey\":\"%s\",\"Expiry\":\"1970-01-01T00:02:03Z\"%s}",
		key_text_format(node, KEY_TEXT_NODE, &node_key), more);
	return client_ask(machine, "POST", "/machine/register", body);
}

/* Also with an auth key in the request, which must not log it in again. */
static void test_logout(void **state)
{
	const char *key = key_of("alice", true);
	struct net_addr addr;
	int64_t id;

	(void)state;
	client_free(client_register(1, 1, "a", key));
	id = only_node(1)->d.id;
	addr = only_node(1)->d.v4;
	expect_reply(client_logout(1, 1, key), "\"NodeKeyExpired\":true");
	assert_true(node_is_expired(&world_tailnet, only_node(1)));
	assert_true(only_node(1)->d.expiry > 1000000000000);
	/* back, as the same node with the same address */
	expect_reply(client_register(1, 2, "a", key), "\"MachineAuthorized\":true");
	assert_int_equal(only_node(1)->d.id, id);
	assert_true(net_addr_equal(&only_node(1)->d.v4, &addr));
	assert_int_equal(only_node(1)->d.expiry, 0);
}

static void test_ephemeral(void **state)
{
	struct preauth_wish wish = {
		.user = world_user("alice"), .reusable = true, .ephemeral = true};
	struct world_outcome out = world_preauth(&wish);
	char member[200];
	struct client *stream;

	(void)state;
	snprintf(member, sizeof(member), ",\"Auth\":{\"AuthKey\":\"%s\"}", out.secret);
	client_free(client_register(1, 1, "a", member));
	client_free(client_register(2, 2, "b", member));
	client_free(client_register(3, 3, "c", member));
	/* logged out: at once */
	expect_reply(client_logout(1, 1, ""), "\"NodeKeyExpired\":true");
	assert_int_equal(world_tailnet.n_nodes, 2);
	/* not before its first poll, nor while it is there */
	stream = client_map(2, 2, MAP_STREAM, "");
	client_free(client_map(2, 2, MAP_REPORT, ""));
	world_pass(1799ull * 1000000000);
	assert_int_equal(world_tailnet.n_nodes, 2);
	/* the other never polled */
	world_pass(2ull * 1000000000);
	assert_int_equal(world_tailnet.n_nodes, 1);
	client_free(stream);
	world_pass(1808ull * 1000000000);
	assert_int_equal(world_tailnet.n_nodes, 1);
	world_pass(3ull * 1000000000);
	assert_int_equal(world_tailnet.n_nodes, 0);
}

static void test_strangers(void **state)
{
	const char *key = key_of("alice", true);
	struct client *c;

	(void)state;
	client_free(client_register(1, 1, "a", key));
	/* who knows a node key only has nothing */
	expect_reply(client_register(2, 1, "a", ""), "belongs to another machine");
	expect_reply(client_register(2, 1, "a", key), "belongs to another machine");
	expect_reply(client_logout(2, 1, ""), "belongs to another machine");
	assert_false(node_is_expired(&world_tailnet, only_node(1)));
	c = client_map(2, 1, MAP_STREAM, "");
	assert_int_equal(c->status, 403);
	client_free(c);
	c = client_map(2, 1, MAP_REPORT, ",\"Endpoints\":[\"192.0.2.1:1\"]");
	assert_int_equal(c->status, 403);
	client_free(c);
	assert_string_equal(only_node(1)->d.endpoints, "[]");
	/* one that is nobody is told to log in, by what makes its client ask for it */
	c = client_map(5, 77, MAP_STREAM, "");
	assert_true(c->streaming);
	assert_string_equal(
		json_string_value(json_object_get(c->node, "KeyExpiry")), "1970-01-01T00:00:01Z");
	world_pass(61ull * 1000000000);
	assert_int_equal(c->keep_alives, 1);
	client_free(c);
	c = client_map(5, 77, MAP_REPORT, "");
	assert_int_equal(c->status, 404);
	client_free(c);
}

static void test_bad_requests(void **state)
{
	static const char *const bodies[] = {"", "[]", "{", "{\"NodeKey\":\"nodekey:12\"}",
		"{\"NodeKey\":7}", "{\"Version\":140}",
		"{\"Version\":\"x\",\"NodeKey\":\"nodekey:"
		"0000000000000000000000000000000000000000000000000000000000000000\"}",
		"{\"Version\":65536,\"NodeKey\":\"nodekey:"
		"1000000000000000000000000000000000000000000000000000000000000000\"}",
		"{\"a\":\"\\u0000\"}", "{\"a\":\"\xff\"}", "{\"a\":1,\"a\":2}"};
	static const char *const paths[] = {"/machine/register", "/machine/map"};
	struct client *c;

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++)
		for (unsigned p = 0; p < 2; p++) {
			c = client_ask(1, "POST", paths[p], bodies[i]);
			assert_int_equal(c->status, 400);
			client_free(c);
		}
	c = client_ask(1, "GET", "/machine/map", "");
	assert_int_equal(c->status, 405);
	client_free(c);
	c = client_ask(1, "GET", "/machine/nothing", "");
	assert_int_equal(c->status, 404);
	client_free(c);
	c = client_ask(1, "GET", "/machine/tka/sync/offer", "{}");
	assert_int_equal(c->status, 501);
	client_free(c);
	c = client_ask(1, "GET", "/machine/whoami", "");
	assert_int_equal(c->status, 200);
	client_free(c);
}

static void expect_status(struct client *c, int status, const char *part)
{
	assert_int_equal(c->status, status);
	if (!strstr(c->reply ? c->reply : "", part))
		fail_msg("\"%s\" is not in: %s", part, c->reply);
	client_free(c);
}

/* Each call of a client is answered, at once: rightly, or with what is missing. */
static void test_side_calls(void **state)
{
	static const struct {
		const char *method, *path;
		int status;
		const char *part;
	} refused[] = {
		{"POST", "/machine/set-dns", 501, "serves no public DNS zone"},
		{"PATCH", "/machine/set-device-attr", 501, "keeps no device attributes"},
		{"POST", "/machine/set-device-attr", 405, "not with this method"},
		{"POST", "/machine/id-token", 501, "issues no identity tokens"},
		{"POST", "/machine/webclient/init/1/to/2", 501, "does not authenticate"},
		{"GET", "/machine/tka/init/begin", 501, "tailnet lock is not available"},
		{"POST", "/machine/update-health", 204, ""},
		{"POST", "/machine/ping/0123456789abcdef0123456789abcdef", 404, "nobody waits"},
	};
	struct public_key key = world_key('n', 1);
	char node[KEY_TEXT_SIZE], body[400];

	(void)state;
	client_free(client_register(1, 1, "a", key_of("alice", true)));
	snprintf(body, sizeof(body),
		"{\"NodeKey\":\"%s\",\"Action\":\"DISCONNECT_NODE\",\"Details\":\"x\","
		"\"Feature\":\"funnel\",\"Subsys\":\"y\"}",
		key_text_format(node, KEY_TEXT_NODE, &key));
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
		expect_status(client_ask(1, refused[i].method, refused[i].path, body),
			refused[i].status, refused[i].part);
	expect_status(client_ask(1, "GET", "/machine/whoami", ""), 200, " a\n");
	expect_status(client_ask(1, "POST", "/machine/audit-log", body), 200, "{}");
	expect_status(client_ask(1, "POST", "/machine/feature/query", body), 200, "ingress");
	/* by who has the node's key, but is not its machine */
	expect_status(client_ask(2, "POST", "/machine/audit-log", body), 403, "no such node");
	expect_status(client_ask(2, "POST", "/machine/feature/query", body), 403, "no such node");
	expect_status(client_ask(1, "POST", "/machine/audit-log", "{"), 400, "JSON");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_auth_key, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_bad_keys, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_revoked_keys_leave, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_spent_once, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_person, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_rejected_and_late, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_ten_thousand_pending, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_expiry, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_logout, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_ephemeral, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_strangers, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_side_calls, world_start, world_stop),
		cmocka_unit_test_setup_teardown(test_bad_requests, world_start, world_stop),
	};

	jobs_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
