/* SPDX-License-Identifier: BSD-3-Clause */
/* Whom the relay lets in, how much it takes of whom, and whom it sends away. */
#include "derp_world.h"

#include <semaphore.h>

static const uint8_t big[DERP_PACKET_MAX];

static struct derp_question *asked;
static struct public_key asked_for;
static _Atomic bool was_asked;

static void ask(void *user, const struct public_key *client, const struct net_addr *from,
	struct derp_question *question)
{
	(void)user;
	assert_int_equal(from->bytes[0], 192);
	asked_for = *client;
	asked = question;
	was_asked = true;
}

static bool is_asked(void *arg)
{
	(void)arg;
	return was_asked;
}

static const struct derp_admission admission = {.ask = ask};

static void test_admission_may_take_time(void **state)
{
	struct client a, b;

	(void)state;
	client_new(&b, 0);
	world_conf.admission = &admission;
	world_configure();
	client_key(&a);
	for (unsigned loop = 0; loop < WORLD_LOOPS; loop++) {
		was_asked = false;
		client_dial(&a, loop);
		client_info(&a, NULL);
		send_packet(&a, &b, "behind", 6); /* clients don't wait */
		world_until(is_asked, NULL);
		assert_memory_equal(&asked_for, &a.key, sizeof(a.key));
		derp_answer(asked, true);
		expect_server_info(&a);
		expect_packet(&b, &a, "behind", 6);
		client_close(&a);
		expect_gone(&b, &a.key, DERP_GONE_DISCONNECTED);
	}
	was_asked = false;
	client_dial(&a, 0);
	client_info(&a, NULL);
	world_until(is_asked, NULL);
	derp_answer(asked, false);
	expect_closed(&a);
	client_close(&a);
	assert_int_equal(figures().handshakes_denied, 1);
	was_asked = false; /* gone before the answer */
	client_dial(&a, 0);
	client_info(&a, NULL);
	world_until(is_asked, NULL);
	client_close(&a);
	derp_answer(asked, true);
	client_close(&b);
}

static bool decision;

static void decide(void *user, const struct public_key *client, const struct net_addr *from,
	struct derp_question *question)
{
	(void)user, (void)client, (void)from;
	derp_answer(question, decision);
}

static void test_admission_may_answer_at_once(void **state)
{
	static const struct derp_admission at_once = {.ask = decide};
	struct client a, b;

	(void)state;
	client_new(&b, 0);
	world_conf.admission = &at_once;
	world_configure();
	client_key(&a);
	decision = true;
	client_dial(&a, 0);
	client_info(&a, NULL);
	send_packet(&a, &b, "behind", 6);
	expect_server_info(&a);
	expect_packet(&b, &a, "behind", 6);
	client_close(&a);
	expect_gone(&b, &a.key, DERP_GONE_DISCONNECTED);
	decision = false;
	client_dial(&a, 0);
	client_info(&a, NULL);
	expect_closed(&a);
	client_close(&a);
	assert_int_equal(figures().handshakes_denied, 1);
	client_close(&b);
}

static void test_a_key_is_closed(void **state)
{
	struct client one, two, other;

	(void)state;
	client_new(&one, 0);
	client_again(&two, &one, 1);
	client_new(&other, 0);
	derp_server_close_key(&one.key);
	expect_closed(&one);
	expect_closed(&two);
	ping(&other);
	client_close(&one);
	client_close(&two);
	client_close(&other);
}

/* How long 20 packets of 60000 bytes take. */
static uint64_t time_of_many(void)
{
	struct client a, b;
	uint64_t since;

	world_configure();
	client_new(&a, 0);
	client_new(&b, 1);
	since = core_now();
	for (unsigned i = 0; i < 20; i++) {
		send_packet(&a, &b, big, 60000);
		expect_packet(&b, &a, big, 60000);
	}
	since = core_now() - since;
	client_close(&a);
	client_close(&b);
	return since;
}

static void test_a_fast_sender_waits(void **state)
{
	uint64_t burst = DERP_KEY_LEN + DERP_PACKET_MAX, waits; /* at least one packet */

	(void)state;
	world_conf.client_rate = 4u << 20;
	assert_true(time_of_many() >= (20 * 60000 - 60000 - burst) * SECOND / (4u << 20));
	waits = figures().rate_limit_waits;
	assert_true(waits > 0);
	world_conf.client_burst = 20 * 61000;
	time_of_many();
	assert_int_equal(figures().rate_limit_waits, waits);
}

static struct net_addr address(uint8_t last)
{
	return (struct net_addr){AF_INET6, {0x20, 1, [7] = last, [15] = last}};
}

static const char *welcome;

static void ask_limits(void *arg)
{
	if (io_loop_index(io_loop_here()) == 0)
		welcome = limit_connection(derp_loop_here(), arg);
}

static bool is_welcome(struct net_addr from)
{
	io_on_each(ask_limits, &from);
	return !welcome;
}

static void test_connections_are_limited(void **state)
{
	struct net_addr one = address(1), two = address(2), neighbour = address(1);
	struct client client;

	(void)state;
	neighbour.bytes[15] = 99; /* of the same /64 */
	world_conf.connections_address = 2;
	world_configure();
	assert_true(is_welcome(one));
	assert_true(is_welcome(neighbour));
	assert_false(is_welcome(one));
	assert_true(is_welcome(two));
	limit_disconnected(&one);
	assert_true(is_welcome(neighbour));
	assert_int_equal(figures().refused_address, 1);
	world_conf.connections_address = 0;
	world_conf.accept_rate = 1;
	world_conf.accept_burst = 3;
	world_configure();
	for (unsigned i = 0; i < 3; i++)
		assert_true(is_welcome(one));
	assert_false(is_welcome(one));
	assert_int_equal(figures().refused_rate, 1);
	world_conf.accept_rate = 0;
	world_conf.memory_max = 1000;
	world_configure();
	assert_false(is_welcome(one));
	assert_int_equal(figures().refused_full, 1);
	world_conf.memory_max = 0;
	world_conf.connections_max = 1;
	world_configure();
	assert_true(is_welcome(two));
	client_new(&client, 1);
	assert_false(is_welcome(two));
	assert_int_equal(figures().refused_full, 2);
	client_close(&client);
}

static void count_list(void *user, const struct derp_client *clients, size_t n)
{
	struct client *client = user;

	assert_int_equal(n, 2);
	for (size_t i = 0; i < n; i++) {
		if (memcmp(&clients[i].key, &client->key, sizeof(client->key)) != 0)
			continue;
		assert_int_equal(clients[i].packets_in, 1);
		assert_int_equal(clients[i].loop, 1);
		assert_true(clients[i].active && clients[i].home && clients[i].can_ack_pings);
		client->fd = -client->fd;
	}
}

/* A relay that is full does not cut off who is in the middle of a frame; but who is not up yet. */
static void test_a_full_relay_reads_on(void **state)
{
	const size_t half = 3000, rest = 5000 - half;
	struct client a, b, late, stalled;
	uint8_t header[DERP_HEADER_LEN];

	(void)state;
	world_conf.write_timeout = 60 * SECOND;
	world_conf.memory_max = (uint64_t)WORLD_LOOPS * 40000;
	world_configure();
	client_new(&a, 0);
	client_new(&b, 0);
	client_new(&stalled, 0);
	client_key(&late);
	client_dial(&late, 0);
	for (unsigned i = 0; i < 1000; i++)
		send_packet(&a, &stalled, big, 1400);
	ping(&a);
	assert_true(figures().dropped_packets[DERP_DROP_QUEUE_TAIL][0] > 0);
	derp_header_put(header, DERP_SEND_PACKET, (uint32_t)(DERP_KEY_LEN + half + rest));
	send_all(&a, header, sizeof(header));
	send_all(&a, &b.key, sizeof(b.key));
	send_all(&a, big, half);
	ping(&b);
	send_all(&a, big, rest);
	expect_packet(&b, &a, big, half + rest);
	derp_header_put(header, DERP_CLIENT_INFO, 10000);
	send_all(&late, header, sizeof(header));
	send_all(&late, big, half);
	expect_closed(&late);
	client_close(&late);
	client_close(&stalled);
	client_close(&a);
	client_close(&b);
}

static bool is_counted(void *arg)
{
	return ((struct client *)arg)->fd < 0;
}

static void test_clients_are_listed(void **state)
{
	struct client a, b;

	(void)state;
	client_new(&a, 0);
	client_new(&b, 1);
	send_frame(&b, DERP_NOTE_PREFERRED, "\x01", 1);
	send_packet(&b, &a, "x", 1);
	expect_packet(&a, &b, "x", 1);
	assert_int_equal(figures().home_connections, 1);
	derp_server_clients(count_list, &b);
	world_until(is_counted, &b);
	b.fd = -b.fd;
	client_close(&a);
	client_close(&b);
}

struct hold {
	struct io_message message;
	sem_t end;
};

static void hold_run(struct io_message *message)
{
	sem_wait(&((struct hold *)message)->end);
}

static void find_in_list(void *user, const struct derp_client *clients, size_t n)
{
	struct client *client = user;

	for (size_t i = 0; i < n; i++)
		if (!memcmp(&clients[i].key, &client->key, sizeof(client->key)))
			client->fd = -client->fd;
}

/* Who was let in is in the list before its key's owner, another loop, has heard of it: else nobody
 * would ask whether it may stay. */
static void test_who_has_just_been_let_in_is_listed(void **state)
{
	struct hold hold = {.message.run = hold_run};
	struct client early, late;

	(void)state;
	client_new(&early, 0);
	do
		client_key(&late);
	while (directory_owner(&late.key) != 1);
	client_dial(&late, 0);
	assert_int_equal(sem_init(&hold.end, 0, 0), 0);
	io_post(io_loop_at(1), &hold.message);
	client_info(&late, NULL);
	ping(&early);
	ping(&early);
	derp_server_clients(find_in_list, &late);
	ping(&early); /* the list has been to this loop */
	ping(&early);
	sem_post(&hold.end);
	world_until(is_counted, &late);
	late.fd = -late.fd;
	expect_server_info(&late);
	client_close(&late);
	client_close(&early);
	sem_destroy(&hold.end);
}

static void expect_health(const struct client *client, const char *text)
{
	expect_frame(client, DERP_HEALTH, (uint32_t)strlen(text));
	assert_memory_equal(world_payload, text, strlen(text));
}

/* Those who are there, and those who come while it is ill. */
static void test_clients_hear_of_the_relays_health(void **state)
{
	struct client early[WORLD_LOOPS], late[WORLD_LOOPS];

	(void)state;
	for (unsigned i = 0; i < WORLD_LOOPS; i++)
		client_new(&early[i], i);
	derp_server_health("the disk is full");
	for (unsigned i = 0; i < WORLD_LOOPS; i++) {
		expect_health(&early[i], "the disk is full");
		client_new(&late[i], i);
		expect_health(&late[i], "the disk is full");
	}
	derp_server_health("");
	for (unsigned i = 0; i < WORLD_LOOPS; i++) {
		expect_health(&early[i], "");
		expect_health(&late[i], "");
		client_close(&late[i]);
		client_new(&late[i], i);
		ping(&late[i]); /* and no word of it */
		client_close(&late[i]);
		client_close(&early[i]);
	}
}

static bool is_set(void *arg)
{
	return *(bool *)arg;
}

static void set(void *arg)
{
	*(bool *)arg = true;
}

static void test_all_are_sent_away(void **state)
{
	struct client clients[20];
	bool done = false;
	uint32_t len;

	(void)state;
	for (unsigned i = 0; i < 20; i++)
		client_new(&clients[i], i % WORLD_LOOPS);
	derp_server_drain(SECOND, false, set, &done);
	world_until(is_set, &done);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(next_frame(&clients[i], &len), DERP_RESTARTING);
		expect_closed(&clients[i]);
		client_close(&clients[i]);
	}
	assert_false(is_welcome(address(1)));
	assert_int_equal(figures().connections, 0);
}

/* Before the successor was there they were let in here; they come back to it. */
static void test_the_late_are_sent_away_too(void **state)
{
	struct client early, late;
	bool done = false;
	uint32_t len;

	(void)state;
	client_new(&early, 0);
	derp_server_drain(SECOND, true, set, &done);
	assert_true(is_welcome(address(1)));
	client_new(&late, 1);
	ping(&late);
	assert_false(done);
	world_until(is_set, &done);
	assert_int_equal(next_frame(&late, &len), DERP_RESTARTING);
	expect_closed(&late);
	client_close(&late);
	client_close(&early);
	assert_false(is_welcome(address(1)));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_begin, world_end)
	const struct CMUnitTest tests[] = {
		TEST(test_admission_may_take_time),
		TEST(test_admission_may_answer_at_once),
		TEST(test_a_key_is_closed),
		TEST(test_a_fast_sender_waits),
		TEST(test_connections_are_limited),
		TEST(test_a_full_relay_reads_on),
		TEST(test_clients_are_listed),
		TEST(test_who_has_just_been_let_in_is_listed),
		TEST(test_clients_hear_of_the_relays_health),
		TEST(test_all_are_sent_away),
		TEST(test_the_late_are_sent_away_too),
	};

	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
