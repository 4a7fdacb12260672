/* SPDX-License-Identifier: BSD-3-Clause */
/* The client's side of the control socket, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "client.h"

struct ends {
	struct client client;
	int daemon;
};

static struct ends ends_open(void)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	return (struct ends){{.fd = pair[0]}, pair[1]};
}

static void ends_close(struct ends *ends)
{
	client_close(&ends->client);
	close(ends->daemon);
}

static void say(struct ends *ends, const char *text)
{
	assert_int_equal(write(ends->daemon, text, strlen(text)), strlen(text));
}

static void expect(struct ends *ends, const char *line)
{
	struct err err = {0};
	json_t *value = client_receive(&ends->client, 5000, &err);
	char *text = json_dumps(value, JSON_COMPACT);

	assert_string_equal(err.msg, "");
	assert_string_equal(text, line);
	free(text);
	json_decref(value);
}

static void test_lines(void **state)
{
	struct ends ends = ends_open();
	struct err err = {0};

	say(&ends, "{\"row\":1}\n{\"row\":2}\n{\"res");
	expect(&ends, "{\"row\":1}");
	expect(&ends, "{\"row\":2}");
	assert_null(client_receive(&ends.client, 0, &err));
	assert_string_equal(err.msg, ""); /* only the time has passed */
	say(&ends, "ult\":3}\n");
	expect(&ends, "{\"result\":3}");
	ends_close(&ends);
}

/* More than one buffer, in pieces that end anywhere. */
static void test_long_line(void **state)
{
	struct ends ends = ends_open();
	size_t len = 300000;
	char *long_text = malloc(len + 1);

	memset(long_text, 'x', len);
	long_text[len] = '\0';
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		FILE *out = fdopen(ends.daemon, "w");

		fprintf(out, "{\"result\":\"%s\"}\n", long_text);
		fclose(out);
		_exit(0);
	}
	struct err err = {0};
	json_t *value = client_receive(&ends.client, 5000, &err);

	assert_string_equal(json_string_value(json_object_get(value, "result")), long_text);
	json_decref(value);
	free(long_text);
	ends_close(&ends);
}

static void test_bad_ends(void **state)
{
	struct ends ends = ends_open();
	struct err err = {0};

	say(&ends, "no json\n");
	assert_null(client_receive(&ends.client, 5000, &err));
	assert_non_null(strstr(err.msg, "is no JSON"));
	say(&ends, "{\"result\":"); /* and away */
	shutdown(ends.daemon, SHUT_RDWR);
	err = (struct err){0};
	assert_null(client_receive(&ends.client, 5000, &err));
	assert_string_equal(err.msg, "the daemon closed the connection");
	ends_close(&ends);
}

static void test_send(void **state)
{
	struct ends ends = ends_open();
	struct err err = {0};
	char line[256], control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {line, sizeof(line) - 1};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	int pipe_ends[2], passed;

	assert_int_equal(pipe(pipe_ends), 0);
	json_t *args = json_pack("{s:s}", "write", "a\nb");

	assert_int_equal(client_send(&ends.client, "capture", args, pipe_ends[1], &err), 0);
	ssize_t n = recvmsg(ends.daemon, &msg, 0);

	assert_true(n > 0);
	line[n] = '\0';
	assert_string_equal(line, "{\"op\":\"capture\",\"args\":{\"write\":\"a\\nb\"}}\n");
	memcpy(&passed, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(passed));
	assert_int_equal(write(passed, "!", 1), 1);
	assert_int_equal(read(pipe_ends[0], line, 1), 1);
	close(passed);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
	json_decref(args);
	ends_close(&ends);
}

static char *ask(const char *answer, struct err *err)
{
	struct ends ends = ends_open();
	json_t *args = json_object();

	say(&ends, answer);
	json_t *result = client_ask(&ends.client, "op", args, 5000, err);
	char *text = result != NULL ? json_dumps(result, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

	json_decref(result);
	json_decref(args);
	ends_close(&ends);
	return text;
}

static void test_ask(void **state)
{
	struct err err = {0};
	char *text = ask("{\"result\":[1]}\n", &err);

	assert_string_equal(text, "[1]");
	free(text);
	text = ask("{\"row\":1}\n{\"row\":2}\n{\"result\":null}\n", &err);
	assert_string_equal(text, "[1,2]");
	free(text);
	assert_null(ask("{\"row\":1}\n{\"error\":\"it broke\"}\n", &err));
	assert_string_equal(err.msg, "it broke");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_bad_ends),
		cmocka_unit_test(test_send),
		cmocka_unit_test(test_ask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
