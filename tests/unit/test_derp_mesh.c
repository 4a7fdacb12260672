/* SPDX-License-Identifier: BSD-3-Clause */
/* A connection to another node of the region, which is the test: what it says of its clients. */
#include "derp_world.h"

#include <arpa/inet.h>

#include "attempt.h"

static struct symmetric_key mesh_key = {.bytes = {7, 7, 7}};

struct far_node {
	struct client client; /* its key, and its end of the connection */
	struct mesh_attempt attempt;
	int listener;
	bool up, ended, cancelled;
};

static void on_up(struct mesh_attempt *attempt)
{
	((struct far_node *)attempt->node)->up = true;
}

static void on_ended(struct mesh_attempt *attempt)
{
	((struct far_node *)attempt->node)->ended = true;
}

static void on_cancelled(struct mesh_attempt *attempt)
{
	((struct far_node *)attempt->node)->cancelled = true;
}

static bool is_set(void *arg)
{
	return *(bool *)arg;
}

static uint16_t listen_at(int *listener)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);

	*listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(*listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(*listener, 1), 0);
	assert_int_equal(getsockname(*listener, (struct sockaddr *)&at, &len), 0);
	return ntohs(at.sin_port);
}

/* The request, and an answer to it. */
static void take_request(const struct far_node *node)
{
	static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
	char text[1024];
	size_t len = 0;

	while (len < 4 || memcmp(text + len - 4, "\r\n\r\n", 4) != 0) {
		assert_true(len < sizeof(text));
		assert_int_equal(recv(node->client.fd, text + len++, 1, 0), 1);
	}
	send_all(&node->client, answer, sizeof(answer) - 1);
}

static void greet(struct far_node *node)
{
	uint8_t frame[DERP_INFO_FRAME_MAX];
	const struct derp_server_info answer = {.version = DERP_VERSION};
	struct derp_client_info info;
	struct symmetric_key box;
	struct public_key key;
	uint32_t len = 0;
	ssize_t n;

	send_all(&node->client, frame, derp_server_key_put(frame, node->client.key.bytes));
	assert_int_equal(next_frame(&node->client, &len), DERP_CLIENT_INFO);
	assert_int_equal(derp_client_info_open(
				 &info, &key, &box, &node->client.private_key, world_payload, len),
		0);
	assert_memory_equal(&key, derp_server_key(), sizeof(key));
	assert_memory_equal(&info.mesh_key, &mesh_key, sizeof(mesh_key));
	n = derp_server_info_seal(frame, sizeof(frame), &answer, &box);
	send_all(&node->client, frame, (size_t)n);
}

static void node_up(struct far_node *node)
{
	struct timeval patience = {.tv_sec = WORLD_PATIENCE};
	struct err err = {0};
	char url[64];

	memset(node, 0, sizeof(*node));
	client_key(&node->client);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u", listen_at(&node->listener));
	assert_int_equal(derp_target_parse(&node->attempt.target, url, &err), 0);
	node->attempt.loop = io_loop_at(1);
	node->attempt.key = &world_conf.key;
	node->attempt.own = derp_server_key();
	node->attempt.mesh_key = &mesh_key;
	node->attempt.up = on_up;
	node->attempt.ended = on_ended;
	node->attempt.cancelled = on_cancelled;
	node->attempt.node = node;
	mesh_attempt_begin(&node->attempt);
	node->client.fd = accept(node->listener, NULL, NULL);
	setsockopt(node->client.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	take_request(node);
	greet(node);
	expect_frame(&node->client, DERP_WATCH_CONNS, 0);
	world_until(is_set, &node->up);
	assert_memory_equal(&node->attempt.server, &node->client.key, sizeof(struct public_key));
}

static void node_end(struct far_node *node)
{
	mesh_attempt_cancel(&node->attempt);
	world_until(is_set, &node->cancelled);
	client_close(&node->client);
	close(node->listener);
	world_settle();
	assert_int_equal(figures().clients_remote, 0);
}

static void say_present(const struct far_node *node, const struct client *client)
{
	struct derp_present present = {.flags = DERP_PRESENT_REGULAR};
	uint8_t frame[DERP_HEADER_LEN + DERP_PEER_PRESENT_LEN];

	memcpy(present.key, client->key.bytes, DERP_KEY_LEN);
	send_all(&node->client, frame, derp_peer_present_put(frame, &present));
}

/* How many clients this node is thought to have when all that it said is dealt with. */
static uint64_t clients(const struct far_node *node)
{
	ping(&node->client);
	world_settle();
	assert_int_equal(node->attempt.clients, figures().clients_remote);
	return figures().clients_remote;
}

static void test_who_is_there(void **state)
{
	uint8_t gone[DERP_KEY_LEN + 1] = {0};
	struct client client;
	static struct far_node node;

	(void)state;
	node_up(&node);
	client_key(&client);
	memcpy(gone, client.key.bytes, DERP_KEY_LEN);
	for (size_t len = DERP_KEY_LEN; len <= sizeof(gone); len++) { /* as of old servers */
		say_present(&node, &client);
		say_present(&node, &client);
		assert_int_equal(clients(&node), 1);
		send_frame(&node.client, DERP_PEER_GONE, gone, len);
		assert_int_equal(clients(&node), 0);
	}
	say_present(&node, &node.client); /* whoever it is: a client of that node */
	assert_int_equal(clients(&node), 1);
	node_end(&node);
}

/* A packet found nobody, the client came back; a derper tells of these two in any order. */
static void test_not_here_is_of_one_packet(void **state)
{
	uint8_t gone[DERP_KEY_LEN + 1];
	struct client client;
	static struct far_node node;

	(void)state;
	node_up(&node);
	client_key(&client);
	memcpy(gone, client.key.bytes, DERP_KEY_LEN);
	gone[DERP_KEY_LEN] = DERP_GONE_NOT_HERE;
	say_present(&node, &client);
	send_frame(&node.client, DERP_PEER_GONE, gone, sizeof(gone));
	assert_int_equal(clients(&node), 1);
	node_end(&node);
}

static void test_a_node_that_dies(void **state)
{
	struct client client;
	static struct far_node node;

	(void)state;
	node_up(&node);
	client_key(&client);
	say_present(&node, &client);
	assert_int_equal(clients(&node), 1);
	shutdown(node.client.fd, SHUT_WR);
	world_until(is_set, &node.ended);
	assert_string_equal(node.attempt.why, "the connection ended");
	node_end(&node);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_begin, world_end)
	const struct CMUnitTest tests[] = {
		TEST(test_who_is_there),
		TEST(test_not_here_is_of_one_packet),
		TEST(test_a_node_that_dies),
	};

	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
