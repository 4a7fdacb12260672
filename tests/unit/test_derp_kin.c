/* SPDX-License-Identifier: BSD-3-Clause */
/* One node in two processes: who has whose packets, and what each is told. */
#include "derp_kin.h"

static void test_both_are_one_node(void **state)
{
	struct client kin, here[WORLD_LOOPS], there;

	(void)state;
	assert_false(world_conf.has_mesh_key);
	for (unsigned newer = 0; newer < 2; newer++) {
		client_key(&there);
		client_new(&here[0], 0);
		kin_open(&kin, newer);
		expect_key(&kin, DERP_PEER_PRESENT, &here[0]);
		client_new(&here[1], 1);
		expect_key(&kin, DERP_PEER_PRESENT, &here[1]);
		say_present(&kin, &there.key);
		kin_settle(&kin);
		for (unsigned i = 0; i < WORLD_LOOPS; i++) {
			send_packet(&here[i], &there, "over", 4);
			expect_forward(&kin, &here[i], &there, "over");
			send_forward(&kin, &there.key, &here[i].key, "back");
			expect_packet(&here[i], &there, "back", 4);
		}
		say_gone(&kin, &there.key, DERP_GONE_DISCONNECTED);
		for (unsigned i = 0; i < WORLD_LOOPS; i++)
			expect_gone(&here[i], &there.key, DERP_GONE_DISCONNECTED);
		client_close(&here[1]);
		expect_key(&kin, DERP_PEER_GONE, &here[1]);
		client_close(&kin);
		client_close(&here[0]);
	}
}

/* Nobody else gets what the other process has. */
static void test_clients_stay_clients(void **state)
{
	struct symmetric_key none = {.bytes = {0}};
	uint8_t frame[2 * DERP_KEY_LEN + 1] = {0};
	struct client kin, client, somebody;

	(void)state;
	client_key(&somebody);
	kin_open(&kin, true);
	for (unsigned i = 0; i < 3; i++) {
		client_key(&client);
		client_join(&client, 0, i ? &none : NULL);
		expect_key(&kin, DERP_PEER_PRESENT, &client);
		send_frame(&client, i == 1 ? DERP_FORWARD_PACKET : DERP_WATCH_CONNS, frame,
			i == 1 ? sizeof(frame) : 0);
		expect_closed(&client);
		expect_key(&kin, DERP_PEER_GONE, &client);
		client_close(&client);
	}
	client_new(&client, 0); /* says that somebody is present: frames of no meaning here */
	expect_key(&kin, DERP_PEER_PRESENT, &client);
	say_present(&client, &somebody.key);
	ping(&client);
	assert_int_equal(figures().clients_remote, 0);
	client_close(&client);
	client_close(&kin);
}

/* What came from there never goes back there. */
static void test_no_way_back(void **state)
{
	struct client kin, here, there;

	(void)state;
	client_key(&there);
	client_new(&here, 1);
	kin_open(&kin, false);
	expect_key(&kin, DERP_PEER_PRESENT, &here);
	say_present(&kin, &there.key);
	kin_settle(&kin);
	send_forward(&kin, &here.key, &there.key, "again");
	kin_settle(&kin);
	assert_int_equal(figures().dropped_packets[DERP_DROP_UNKNOWN_DEST_ON_FWD][0], 1);
	client_close(&here);
	client_close(&kin);
}

/* Who went there came later: the older process sends there what it has, the newer one does not. */
static void test_who_is_newer(void **state)
{
	struct client kin, both, sender;

	(void)state;
	for (unsigned newer = 0; newer < 2; newer++) {
		client_new(&both, 0);
		client_new(&sender, 1);
		kin_open(&kin, newer);
		expect_frame(&kin, DERP_PEER_PRESENT, DERP_PEER_PRESENT_LEN);
		expect_frame(&kin, DERP_PEER_PRESENT, DERP_PEER_PRESENT_LEN);
		say_present(&kin, &both.key);
		kin_settle(&kin);
		send_packet(&sender, &both, "where", 5);
		if (newer)
			expect_forward(&kin, &sender, &both, "where");
		else
			expect_packet(&both, &sender, "where", 5);
		client_close(&both);
		expect_key(&kin, DERP_PEER_GONE, &both);
		client_close(&kin);
		client_close(&sender);
	}
}

/* Other nodes see the clients of both processes, and reach them at whichever they are connected to.
 */
static void test_the_region(void **state)
{
	struct symmetric_key key = {.bytes = {3}};
	struct client kin, node, there;
	struct derp_present present;

	(void)state;
	world_conf.has_mesh_key = true;
	world_conf.mesh_key = key;
	world_configure();
	client_key(&there);
	client_key(&node);
	client_join(&node, 1, &key);
	send_frame(&node, DERP_WATCH_CONNS, NULL, 0);
	expect_key(&node, DERP_PEER_PRESENT, &node);
	kin_open(&kin, false);
	expect_key(&kin, DERP_PEER_PRESENT, &node);
	say_present(&kin, &there.key);
	expect_frame(&node, DERP_PEER_PRESENT, DERP_PEER_PRESENT_LEN);
	assert_true(derp_peer_present_get(&present, world_payload, DERP_PEER_PRESENT_LEN));
	assert_memory_equal(present.key, there.key.bytes, DERP_KEY_LEN);
	assert_int_equal(present.flags, DERP_PRESENT_NOT_IDEAL);
	assert_int_equal(present.port, 77);
	send_forward(&node, &node.key, &there.key, "through");
	expect_forward(&kin, &node, &there, "through");
	say_gone(&kin, &there.key, DERP_GONE_DISCONNECTED);
	expect_gone(&node, &there.key, DERP_GONE_DISCONNECTED);
	client_close(&node);
	expect_key(&kin, DERP_PEER_GONE, &node);
	client_close(&kin);
}

/* A process takes over while the one before has not ended: the three are one node. */
static void test_three(void **state)
{
	struct client older, newer, first, last;

	(void)state;
	client_key(&first);
	client_key(&last);
	kin_open(&older, false);
	kin_open(&newer, true);
	say_present(&older, &first.key);
	expect_key(&newer, DERP_PEER_PRESENT, &first);
	say_present(&newer, &last.key);
	expect_key(&older, DERP_PEER_PRESENT, &last);
	kin_settle(&older);
	send_forward(&older, &first.key, &last.key, "on");
	expect_forward(&newer, &first, &last, "on");
	send_forward(&newer, &last.key, &first.key, "back");
	expect_forward(&older, &last, &first, "back");
	/* the first comes to the last process: no longer at the oldest, says the oldest */
	say_present(&newer, &first.key);
	expect_key(&older, DERP_PEER_PRESENT, &first);
	say_gone(&older, &first.key, DERP_GONE_DISCONNECTED);
	expect_key(&newer, DERP_PEER_GONE, &first);
	kin_settle(&newer);
	client_close(&older);
	client_close(&newer);
}

struct listed {
	const struct public_key *here, *there;
	enum derp_via via;
	bool done;
};

static void look_at_list(void *user, const struct derp_client *clients, size_t n)
{
	struct listed *listed = user;

	assert_int_equal(n, 2);
	for (size_t i = 0; i < n; i++) {
		const struct derp_client *one = &clients[i];
		bool elsewhere = memcmp(&one->key, listed->there, sizeof(one->key)) == 0;

		assert_memory_equal(
			&one->key, elsewhere ? listed->there : listed->here, sizeof(one->key));
		assert_int_equal(one->elsewhere, elsewhere);
		if (!elsewhere)
			continue;
		assert_int_equal(one->via, listed->via);
		assert_int_equal(one->from.port, 77);
		assert_true(one->not_ideal && !one->mesh && !one->active);
	}
	listed->done = true;
}

static bool is_listed(void *arg)
{
	return ((struct listed *)arg)->done;
}

/* People who ask this process are told of the clients of the other. */
static void test_all_are_listed(void **state)
{
	struct client kin, here, there;

	(void)state;
	for (unsigned newer = 0; newer < 2; newer++) {
		struct listed listed = {
			&here.key, &there.key, newer ? DERP_VIA_NEWER : DERP_VIA_OLDER, false};

		client_key(&there);
		client_new(&here, 1);
		kin_open(&kin, newer);
		expect_key(&kin, DERP_PEER_PRESENT, &here);
		say_present(&kin, &there.key);
		kin_settle(&kin);
		derp_server_clients(look_at_list, &listed);
		world_until(is_listed, &listed);
		client_close(&kin);
		client_close(&here);
	}
}

/* And end their connections: told to one process, done by all, and said to none twice. */
static void test_closed_in_all(void **state)
{
	struct client older, newer, mine, other;

	(void)state;
	client_new(&other, 1);
	kin_open(&older, false);
	kin_open(&newer, true);
	expect_key(&older, DERP_PEER_PRESENT, &other);
	expect_key(&newer, DERP_PEER_PRESENT, &other);
	for (unsigned i = 0; i < 2; i++) {
		client_new(&mine, i);
		expect_key(&older, DERP_PEER_PRESENT, &mine);
		expect_key(&newer, DERP_PEER_PRESENT, &mine);
		if (i)
			send_frame(&older, DERP_CLOSE_PEER, mine.key.bytes, DERP_KEY_LEN);
		else
			derp_server_close_peer(&mine.key);
		expect_closed(&mine);
		if (!i)
			expect_key(&older, DERP_CLOSE_PEER, &mine);
		expect_key(&older, DERP_PEER_GONE, &mine);
		expect_key(&newer, DERP_CLOSE_PEER, &mine);
		expect_key(&newer, DERP_PEER_GONE, &mine);
		kin_settle(&older);
		client_close(&mine);
	}
	derp_server_close_key(&other.key); /* admission's word is each process's own */
	expect_closed(&other);
	expect_key(&older, DERP_PEER_GONE, &other);
	kin_settle(&older);
	client_close(&other);
	client_close(&older);
	client_close(&newer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_both_are_one_node, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_clients_stay_clients, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_no_way_back, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_who_is_newer, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_the_region, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_three, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_all_are_listed, world_begin, world_end),
		cmocka_unit_test_setup_teardown(test_closed_in_all, world_begin, world_end),
	};

	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
