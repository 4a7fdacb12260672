/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client of the control protocol that does what lines on its standard input say, and tells what
 * comes back as lines of JSON:
 *
 *   ts_tool HOST PORT SERVER-KEY(hex) MACHINE-KEY(hex) VERSION [WINDOW [hold]]
 *
 *   request METHOD PATH [BODY-LENGTH]   cancel STREAM   ping   facts
 *   stop (reading)   go (on reading)   raw HEX (in place of a record)   text HEX (in a record)
 *   begin-with WINDOW   give STREAM INCREMENT   tell STREAM
 *
 * "hold": windows grow by `give` alone.
 */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sodium.h>

#include "ts_client.h"

struct answer {
	uint64_t bytes;
	uint64_t messages; /* whole ones, by their length prefix */
	uint32_t left;
	uint8_t prefix[4];
	unsigned prefix_len;
	uint32_t hash;
	char text[1024];
};

static struct ts_client *client;
static struct answer answers[4096];
static int fd;
static bool reading = true;

static struct answer *answer_of(int32_t stream)
{
	return &answers[stream / 2 % 4096];
}

static void on_status(void *user, int32_t stream, int status)
{
	(void)user;
	printf("{\"status\":%d,\"stream\":%d}\n", status, stream);
}

static void count_messages(struct answer *answer, const uint8_t *bytes, size_t len)
{
	while (len) {
		size_t part;

		if (answer->prefix_len < 4) {
			answer->prefix[answer->prefix_len++] = *bytes++;
			len--;
			for (int i = 4; answer->prefix_len == 4 && i--;)
				answer->left = answer->left << 8 | answer->prefix[i];
			continue;
		}
		part = len < answer->left ? len : answer->left;
		answer->left -= (uint32_t)part;
		bytes += part;
		len -= part;
		if (!answer->left) {
			answer->messages++;
			answer->prefix_len = 0;
		}
	}
}

static void on_data(void *user, int32_t stream, const uint8_t *bytes, size_t len)
{
	struct answer *answer = answer_of(stream);

	(void)user;
	for (size_t i = 0; i < len; i++) {
		answer->hash = (answer->hash ^ bytes[i]) * 16777619u;
		if (answer->bytes + i < sizeof(answer->text) - 1)
			answer->text[answer->bytes + i] = (char)bytes[i];
	}
	answer->bytes += len;
	count_messages(answer, bytes, len);
}

static void tell(int32_t stream, const char *more)
{
	const struct answer *answer = answer_of(stream);

	printf("{\"stream\":%d,\"bytes\":%llu,\"messages\":%llu,\"hash\":%u%s", stream,
		(unsigned long long)answer->bytes, (unsigned long long)answer->messages,
		answer->hash, more);
}

static void on_end(void *user, int32_t stream, uint32_t error)
{
	char text[2100], *at = text;

	(void)user;
	for (const char *c = answer_of(stream)->text; *c >= ' ' && *c < 127; c++) {
		if (*c == '"' || *c == '\\')
			*at++ = '\\';
		*at++ = *c;
	}
	*at = '\0';
	tell(stream, "");
	printf(",\"end\":%u,\"text\":\"%s\"}\n", error, text);
}

static void tell_facts(void)
{
	struct ts_client_facts facts = ts_client_facts(client);

	printf("{\"goaway\":%s,\"pongs\":%llu,\"records\":%llu,\"frames\":%llu,\"early\":%s}\n",
		facts.goaway ? "true" : "false", (unsigned long long)facts.pongs,
		(unsigned long long)facts.records, (unsigned long long)facts.data_frames,
		facts.early ? facts.early : "null");
}

static void send_raw(const char *hex, bool sealed)
{
	uint8_t bytes[8192];
	size_t len = 0;

	sodium_hex2bin(bytes, sizeof(bytes), hex, strlen(hex), " \n", &len, NULL);
	if (sealed)
		ts_client_text(client, bytes, len);
	else if (write(fd, bytes, len) < 0)
		perror("write");
}

static void obey(char *line)
{
	char method[16], path[4000];
	unsigned long len = 0;
	int32_t stream;
	int n, window;

	if ((n = sscanf(line, "request %15s %3999s %lu", method, path, &len)) >= 2) {
		char *body = n > 2 ? malloc(len + 1) : NULL;

		if (body)
			memset(body, 'b', len);
		stream = ts_client_request(client, method, path, "unused", body, len);
		free(body);
		memset(answer_of(stream), 0, sizeof(struct answer));
		printf("{\"request\":%d}\n", stream);
	} else if (sscanf(line, "cancel %d", &stream) == 1) {
		ts_client_cancel(client, stream);
	} else if (sscanf(line, "begin-with %d", &window) == 1) {
		ts_client_begin_with(client, (uint32_t)window);
	} else if (sscanf(line, "give %d %d", &stream, &window) == 2) {
		ts_client_give(client, stream, window);
	} else if (sscanf(line, "tell %d", &stream) == 1) {
		tell(stream, "}\n");
	} else if (strncmp(line, "ping", 4) == 0) {
		ts_client_ping(client);
	} else if (strncmp(line, "facts", 5) == 0) {
		tell_facts();
	} else if (strncmp(line, "stop", 4) == 0) {
		reading = false;
	} else if (strncmp(line, "go", 2) == 0) {
		reading = true;
	} else if (strncmp(line, "raw ", 4) == 0) {
		send_raw(line + 4, false);
	} else if (strncmp(line, "text ", 5) == 0) {
		send_raw(line + 5, true);
	}
}

static int dial(const char *host, const char *port)
{
	struct addrinfo *info, hints = {.ai_socktype = SOCK_STREAM};
	int s;

	if (getaddrinfo(host, port, &hints, &info) != 0)
		exit(2);
	s = socket(info->ai_family, SOCK_STREAM, 0);
	if (connect(s, info->ai_addr, info->ai_addrlen) != 0)
		exit(2);
	freeaddrinfo(info);
	return s;
}

static void unhex(uint8_t *key, const char *hex)
{
	if (sodium_hex2bin(key, 32, hex, strlen(hex), NULL, NULL, NULL) != 0)
		exit(2);
}

static bool receive(void)
{
	uint8_t bytes[65536];
	ssize_t n = read(fd, bytes, sizeof(bytes));

	if (n <= 0) {
		printf("{\"closed\":true,\"said_goodbye\":%s}\n",
			ts_client_facts(client).goaway ? "true" : "false");
		return false;
	}
	if (ts_client_input(client, bytes, (size_t)n) != 0) {
		printf("{\"error\":\"%s\"}\n", ts_client_error(client));
		return false;
	}
	return true;
}

static void transmit(void)
{
	const uint8_t *out;
	size_t len;

	while ((out = ts_client_output(client, &len))) {
		ssize_t n = send(fd, out, len, MSG_NOSIGNAL);

		if (n < 0)
			return;
		ts_client_sent(client, (size_t)n);
	}
}

/* Lines of the input: poll shows what is in the pipe, not what stdio has read ahead. */
static bool listen_to_input(void)
{
	static char line[16384];
	static size_t len;
	ssize_t n = read(0, line + len, sizeof(line) - 1 - len);
	char *end;

	if (n <= 0)
		return false;
	len += (size_t)n;
	line[len] = '\0';
	while ((end = strchr(line, '\n'))) {
		*end = '\0';
		obey(line);
		len -= (size_t)(end + 1 - line);
		memmove(line, end + 1, len + 1);
	}
	return true;
}

int main(int argc, char **argv)
{
	const struct ts_client_ops ops = {on_status, on_data, on_end, argc > 7};
	struct ts_client_conf conf = {.ops = &ops};
	bool open = true;

	if (argc < 6 || sodium_init() < 0)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	conf.host = argv[1];
	unhex(conf.server.bytes, argv[3]);
	unhex(conf.machine.bytes, argv[4]);
	conf.version = (uint16_t)atoi(argv[5]);
	conf.window = argc > 6 ? (uint32_t)atoi(argv[6]) : 0;
	fd = dial(argv[1], argv[2]);
	client = ts_client_new(&conf);
	if (!client)
		return 2;
	while (open) {
		struct pollfd fds[2] = {{0, POLLIN, 0}, {fd, reading ? POLLIN : 0, 0}};

		transmit();
		if (poll(fds, reading ? 2 : 1, -1) < 0)
			break;
		if (fds[0].revents && !listen_to_input())
			break;
		if (reading && fds[1].revents)
			open = receive();
	}
	ts_client_free(client);
	close(fd);
	return 0;
}
