/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our client of relays for tests, by lines: commands on its standard input, one JSON object for
 * each thing that happens on its standard output.
 *
 *   derp_talk [--key FILE] [--mesh-key HEX] [--watch] [--prober] [--once] [--cert NAME] URL...
 *
 *   send KEY HEX   forward KEY KEY HEX   flood KEY COUNT SIZE   ping HEX   preferred 0|1
 *   close KEY      facts                 quit
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <openssl/ssl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "tls.h"
#include "x25519.h"

#define TARGETS_MAX 8
#define LINE_SIZE (2 * DERP_PACKET_MAX + 512)

static struct relay_client *client;
static struct ev_loop *loop;
static char line[LINE_SIZE];
static size_t line_len;
static uint64_t flood_packets, flood_bytes;

static void say(json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT);

	puts(text);
	fflush(stdout);
	free(text);
	json_decref(object);
}

static const char *hex(const void *bytes, size_t len)
{
	static char text[2 * DERP_PACKET_MAX + 1];

	return sodium_bin2hex(text, sizeof(text), bytes, len);
}

static void on_up(void *user, const struct public_key *server)
{
	(void)user;
	say(json_pack("{ss ss}", "event", "up", "server", hex(server, 32)));
}

static void on_down(void *user, int error, const char *why)
{
	(void)user;
	say(json_pack("{ss si ss}", "event", "down", "error", error, "why", why));
}

static void on_packet(void *user, const struct public_key *from, const uint8_t *packet, size_t len)
{
	json_t *object;

	(void)user;
	if (len >= 5 && memcmp(packet, "flood", 5) == 0) {
		flood_packets++;
		flood_bytes += len;
		return;
	}
	object = json_pack("{ss ss}", "event", "packet", "from", hex(from, 32));
	json_object_set_new(object, "bytes", json_string(hex(packet, len)));
	say(object);
}

static void on_present(void *user, const struct derp_present *present)
{
	(void)user;
	say(json_pack("{ss ss si si}", "event", "present", "key", hex(present->key, 32), "flags",
		present->flags, "port", present->port));
}

static void on_gone(void *user, const struct public_key *peer, uint8_t reason)
{
	(void)user;
	say(json_pack("{ss ss si}", "event", "gone", "key", hex(peer, 32), "reason", reason));
}

static void on_pong(void *user, const uint8_t data[8])
{
	(void)user;
	say(json_pack("{ss ss}", "event", "pong", "data", hex(data, 8)));
}

static void on_health(void *user, const char *text)
{
	(void)user;
	say(json_pack("{ss ss}", "event", "health", "text", text));
}

static void on_restarting(void *user, uint32_t reconnect_in_ms, uint32_t try_for_ms)
{
	(void)user;
	say(json_pack("{ss si si}", "event", "restarting", "in", (int)reconnect_in_ms, "for",
		(int)try_for_ms));
}

static const struct relay_client_ops ops = {
	.up = on_up,
	.down = on_down,
	.packet = on_packet,
	.present = on_present,
	.gone = on_gone,
	.pong = on_pong,
	.health = on_health,
	.restarting = on_restarting,
};

/* ---- commands ---- */

static size_t unhex(void *to, size_t size, const char *text)
{
	size_t n = 0;

	if (!text || sodium_hex2bin(to, size, text, strlen(text), NULL, &n, NULL) != 0)
		exit(2);
	return n;
}

static void flood(const struct public_key *to, unsigned long count, size_t size)
{
	static uint8_t packet[DERP_PACKET_MAX];
	unsigned long sent = 0;

	memcpy(packet, "flood", 5);
	while (sent < count && relay_client_send(client, to, packet, size) == 0)
		sent++;
	say(json_pack("{ss sI}", "event", "flooded", "sent", (json_int_t)sent));
}

static void facts(void)
{
	struct relay_client_facts now = relay_client_facts(client);

	say(json_pack("{ss sb si sb ss sI sI}", "event", "facts", "up", now.up, "target",
		(int)now.target, "fast", now.fast, "tls", now.tls ? SSL_get_version(now.tls) : "",
		"flood_packets", (json_int_t)flood_packets, "flood_bytes",
		(json_int_t)flood_bytes));
}

static void run(char *text)
{
	static uint8_t packet[DERP_PACKET_MAX + 1];
	char *at, *word = strtok_r(text, " ", &at);
	struct public_key a, b;
	int rc = 0;

	if (!word || strcmp(word, "quit") == 0) {
		ev_break(loop, EVBREAK_ALL);
	} else if (strcmp(word, "facts") == 0) {
		facts();
	} else if (strcmp(word, "ping") == 0) {
		unhex(packet, 8, strtok_r(NULL, " ", &at));
		rc = relay_client_ping(client, packet);
	} else if (strcmp(word, "preferred") == 0) {
		relay_client_preferred(client, strtok_r(NULL, " ", &at)[0] == '1');
	} else if (strcmp(word, "close") == 0) {
		unhex(&a, 32, strtok_r(NULL, " ", &at));
		rc = relay_client_close_peer(client, &a);
	} else if (strcmp(word, "flood") == 0) {
		unhex(&a, 32, strtok_r(NULL, " ", &at));
		unsigned long count = strtoul(strtok_r(NULL, " ", &at), NULL, 10);

		flood(&a, count, strtoul(strtok_r(NULL, " ", &at), NULL, 10));
	} else if (strcmp(word, "forward") == 0) {
		unhex(&a, 32, strtok_r(NULL, " ", &at));
		unhex(&b, 32, strtok_r(NULL, " ", &at));
		size_t n = unhex(packet, sizeof(packet), strtok_r(NULL, " ", &at));

		rc = relay_client_forward(client, &a, &b, packet, n);
	} else if (strcmp(word, "send") == 0) {
		unhex(&a, 32, strtok_r(NULL, " ", &at));
		size_t n = unhex(packet, sizeof(packet), strtok_r(NULL, " ", &at));

		rc = relay_client_send(client, &a, packet, n);
	} else {
		exit(2);
	}
	if (rc)
		say(json_pack("{ss ss si}", "event", "refused", "command", word, "error", rc));
}

static void on_input(struct ev_loop *ev, ev_io *watcher, int revents)
{
	ssize_t n = read(watcher->fd, line + line_len, sizeof(line) - line_len - 1);
	char *end, *at = line;

	(void)revents;
	if (n <= 0) {
		ev_break(ev, EVBREAK_ALL);
		return;
	}
	line_len += (size_t)n;
	while ((end = memchr(at, '\n', line_len - (size_t)(at - line)))) {
		*end = '\0';
		run(at);
		at = end + 1;
	}
	line_len -= (size_t)(at - line);
	memmove(line, at, line_len);
}

static void read_key(struct private_key *key, const char *path)
{
	char text[65] = "";
	FILE *file = fopen(path, "r");

	if (!file || fread(text, 1, 64, file) != 64)
		exit(2);
	fclose(file);
	unhex(key, 32, text);
}

static const struct option options[] = {
	{"key", required_argument, NULL, 'k'},
	{"mesh-key", required_argument, NULL, 'm'},
	{"watch", no_argument, NULL, 'w'},
	{"prober", no_argument, NULL, 'p'},
	{"once", no_argument, NULL, 'o'},
	{"cert", required_argument, NULL, 'c'},
	{0},
};

int main(int argc, char **argv)
{
	struct derp_target targets[TARGETS_MAX];
	struct relay_client_conf conf = {.targets = targets, .ops = &ops};
	static struct symmetric_key mesh_key;
	const char *cert = "";
	struct public_key own;
	struct err err = {0};
	ev_io input;
	int c;

	x25519_generate(&conf.key);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'k')
			read_key(&conf.key, optarg);
		else if (c == 'm')
			unhex(&mesh_key, 32, optarg), conf.mesh_key = &mesh_key;
		else if (c == 'w')
			conf.watch = true;
		else if (c == 'p')
			conf.prober = true;
		else if (c == 'o')
			conf.once = true;
		else if (c == 'c')
			cert = optarg;
		else
			return 2;
	}
	for (; optind < argc && conf.n_targets < TARGETS_MAX; optind++) {
		struct derp_target *target = &targets[conf.n_targets++];

		if (derp_target_parse(target, argv[optind], &err) != 0) {
			fprintf(stderr, "%s\n", err.msg);
			return 2;
		}
		snprintf(target->cert_name, sizeof(target->cert_name), "%s", cert);
	}
	loop = ev_loop_new(EVFLAG_AUTO);
	conf.loop = loop;
	conf.tls = derp_tls_ctx_new(&err);
	x25519_public(&own, &conf.key);
	say(json_pack("{ss ss}", "event", "key", "key", hex(&own, 32)));
	client = relay_client_new(&conf);
	ev_io_init(&input, on_input, STDIN_FILENO, EV_READ);
	ev_io_start(loop, &input);
	ev_run(loop, 0);
	relay_client_free(client);
	SSL_CTX_free(conf.tls);
	ev_loop_destroy(loop);
	return 0;
}
