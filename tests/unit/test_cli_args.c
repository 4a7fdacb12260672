/* SPDX-License-Identifier: BSD-3-Clause */
/* Words to a command (abbreviations, suggestions), and its words to arguments. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "args.h"
#include "commands.h"
#include "words.h"

static const struct op_arg peers_args[] = {
	{"tunnel", SETTING_STRING, OP_ARG_POSITIONAL},
	{0},
};

static const struct op_arg add_args[] = {
	{"public-key", SETTING_KEY, OP_ARG_POSITIONAL | OP_ARG_REQUIRED, .help = "of the peer"},
	{"allowed-ips", SETTING_PREFIX, OP_ARG_LIST},
	{"preshared-key", SETTING_STRING, OP_ARG_SECRET_FILE},
	{"keepalive", SETTING_INT},
	{"volatile", SETTING_BOOL, .letter = 'v'},
	{"user", SETTING_STRING, .letter = 'u'},
	{"mode", SETTING_ENUM, 0, (const char *const[]){"fast", "slow", NULL}},
	{0},
};

static const struct op_arg capture_args[] = {
	{"write", SETTING_PATH, OP_ARG_FILE | OP_ARG_REQUIRED},
	{"filter", SETTING_STRING, OP_ARG_POSITIONAL | OP_ARG_LIST},
	{0},
};

static const struct op ops[] = {
	{"status"},
	{"stop"},
	{"reload"},
	{"peers", .args = peers_args},
	{"peers add", .args = add_args},
	{"peers remove"},
	{"log level"},
	{"log follow"},
	{"capture", .args = capture_args},
	{"ports"},
	{"ports show"},
	{"preauthkeys create", .aliases = "authkey|pre c|new"},
	{"preauthkeys list", .aliases = "authkey|pre ls|show"},
	{"users list", .aliases = "- ls"},
	{0},
};

static void add_ops(struct commands *commands)
{
	*commands = (struct commands){0};
	for (const struct op *op = ops; op->name != NULL; op++)
		commands_add(commands, op);
}

static void test_match(void **state)
{
	static const struct {
		const char *line, *name;
		int n_words;
		const char *error;
	} cases[] = {
		{"status", "status", 1},
		{"sta", "status", 1},
		{"st", NULL, 0, "'st' may mean several commands: status, stop"},
		{"r", "reload", 1},
		{"l l", "log level", 2},
		{"log level debug", "log level", 2},
		{"log", NULL, 0, "'log' needs one more word: follow, level"},
		{"log --help", NULL, 0, "'log' needs one more word: follow, level"},
		{"peers", "peers", 1},
		{"pe", "peers", 1},
		{"peers wg0", "peers", 1},
		{"peers add", "peers add", 2},
		{"authkey ls", "preauthkeys list", 2},
		{"pre new", "preauthkeys create", 2},
		{"preauthkeys show", "preauthkeys list", 2},
		{"user ls", "users list", 2},
		{"preauthkeys |", NULL, 0,
			"unknown command 'preauthkeys |'; after 'preauthkeys' comes one of: "
			"create, "
			"list"},
		/* It could be a tunnel's name. */
		{"peers a", "peers", 1},
		{"pe add k", "peers add", 2},
		/* No place for a word: only a command can be meant. */
		{"ports s", "ports show", 2},
		{"ports shw", NULL, 0, "unknown command 'ports shw'; did you mean 'ports show'?"},
		{"ports -o json", "ports", 1},
		{"statsu", NULL, 0, "unknown command 'statsu'; did you mean 'status'?"},
		{"frobnicate", NULL, 0,
			"unknown command 'frobnicate'; 'tailplane help' lists the commands"},
		{"log frobnicate", NULL, 0,
			"unknown command 'log frobnicate'; after 'log' comes one of: follow, "
			"level"},
	};
	struct commands commands;

	add_ops(&commands);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = {0};
		struct match match;
		struct words words;

		words_split(&words, cases[i].line);
		commands_match(&commands, words.words, (int)words.count, true, &match, &err);
		print_message("%s\n", cases[i].line);
		assert_string_equal(err.msg, cases[i].error != NULL ? cases[i].error : "");
		assert_int_equal(match.op != NULL, cases[i].name != NULL);
		if (match.op != NULL) {
			assert_string_equal(match.op->name, cases[i].name);
			assert_int_equal(match.n_words, cases[i].n_words);
		}
		words_free(&words);
	}
	commands_free(&commands);
}

/* Without abbreviations nothing is guessed. */
static void test_match_in_full(void **state)
{
	char *words[] = {(char *)"sta", NULL};
	struct commands commands;
	struct err err = {0};
	struct match match;

	add_ops(&commands);
	assert_int_not_equal(commands_match(&commands, words, 1, false, &match, &err), 0);
	commands_free(&commands);
}

static void test_args(void **state)
{
	static const struct {
		const char *op, *line, *values, *error;
	} cases[] = {
		{"peers", "", "{}"},
		{"peers", "wg0", "{\"tunnel\":\"wg0\"}"},
		{"peers", "wg0 wg1", NULL, "'wg1' is one word too many for 'peers'"},
		{"status", "x", NULL, "'x' is one word too many for 'status'"},
		{"peers add", "", NULL, "'peers add' needs PUBLIC-KEY: of the peer"},
		{"peers add", "K --keepalive 25", "{\"public-key\":\"K\",\"keepalive\":25}"},
		{"peers add", "--keepalive=25 K", "{\"keepalive\":25,\"public-key\":\"K\"}"},
		{"peers add", "K --keepalive 25s", NULL,
			"--keepalive takes a whole number, not '25s'"},
		{"peers add", "K --keepalive", NULL, "--keepalive needs a value: NUMBER"},
		{"peers add", "K --keepalive 1 --keepalive 2", NULL,
			"--keepalive is given twice; the second time as '2'"},
		{"peers add", "K --volatile", "{\"public-key\":\"K\",\"volatile\":true}"},
		{"peers add", "K --no-volatile", "{\"public-key\":\"K\",\"volatile\":false}"},
		{"peers add", "K --volatile=off", "{\"public-key\":\"K\",\"volatile\":false}"},
		{"peers add", "K --volatile=maybe", NULL,
			"--volatile takes true or false, not 'maybe'"},
		{"peers add", "K --allowed-ips a,b --allowed-ips c",
			"{\"public-key\":\"K\",\"allowed-ips\":[\"a\",\"b\",\"c\"]}"},
		{"peers add", "K --allowed-ips ''", "{\"public-key\":\"K\",\"allowed-ips\":[]}"},
		{"peers add", "K --allowed-ips a,,b", NULL,
			"--allowed-ips has an empty item: 'a,,b'"},
		{"peers add", "K --allowed-ips a,", NULL, "--allowed-ips has an empty item: 'a,'"},
		{"peers add", "K --mode slow", "{\"public-key\":\"K\",\"mode\":\"slow\"}"},
		{"peers add", "K --mode slw", NULL, "--mode takes fast|slow, not 'slw'"},
		{"peers add", "K --mod slow", NULL,
			"'peers add' takes no option '--mod'; did you mean '--mode'?"},
		{"peers add", "K --frobnicate", NULL,
			"'peers add' takes no option '--frobnicate'; see 'tailplane help peers "
			"add'"},
		{"peers add", "-- --mode", "{\"public-key\":\"--mode\"}"},
		{"peers add", "\xff", NULL, "PUBLIC-KEY is not UTF-8: '\xff'"},
		{"peers add", "K -u alice", "{\"public-key\":\"K\",\"user\":\"alice\"}"},
		{"peers add", "K -ualice -v",
			"{\"public-key\":\"K\",\"user\":\"alice\",\"volatile\":true}"},
		{"peers add", "K -u=alice", "{\"public-key\":\"K\",\"user\":\"alice\"}"},
		{"peers add", "K -u", NULL, "--user needs a value: TEXT"},
		{"peers add", "K -x", NULL,
			"'peers add' takes no option '-x'; see 'tailplane help peers add'"},
		{"capture", "-w - udp port 53",
			"{\"write\":\"-\",\"filter\":[\"udp\",\"port\",\"53\"]}"},
	};
	struct commands commands;

	add_ops(&commands);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct options options = {0};
		struct err err = {0};
		struct words words;
		struct args args;

		print_message("%s %s\n", cases[i].op, cases[i].line);
		words_split(&words, cases[i].line);
		if (cases[i].line[0] == '\0')
			words.words[0][0] = '\0';
		char *const *argv = cases[i].line[0] != '\0' ? words.words : words.words + 1;
		int rc = args_parse(
			commands_find(&commands, cases[i].op), argv, &options, &args, &err);

		assert_string_equal(err.msg, cases[i].error != NULL ? cases[i].error : "");
		assert_int_equal(rc == 0, cases[i].error == NULL);
		if (rc == 0) {
			char *values = json_dumps(args.values, JSON_COMPACT);

			assert_string_equal(values, cases[i].values);
			free(values);
			args_free(&args);
		}
		words_free(&words);
	}
	commands_free(&commands);
}

/* The options of each command, among the command's own; the command's own come first. */
static void test_options(void **state)
{
	char *words[] = {(char *)"K", (char *)"-ojson", (char *)"--color=never",
		(char *)"--watch=0.5", (char *)"-s", (char *)"/x", (char *)"--help", NULL};
	struct options options = {0};
	struct commands commands;
	struct err err = {0};
	struct args args;

	add_ops(&commands);
	assert_int_equal(
		args_parse(commands_find(&commands, "peers add"), words, &options, &args, &err), 0);
	assert_int_equal(options.output, OUTPUT_JSON);
	assert_int_equal(options.colour, COLOUR_NEVER);
	assert_true(options.watch_s == 0.5);
	assert_string_equal(options.socket, "/x");
	assert_true(options.help);
	args_free(&args);
	commands_free(&commands);
}

static void test_options_wrong(void **state)
{
	static const struct {
		const char *line, *error;
	} cases[] = {
		{"-o", "--output needs a value: table|json|yaml|json-line"},
		{"-o xml", "--output takes table, json, yaml or json-line, not 'xml'"},
		{"--color=red", "--color takes auto, always or never, not 'red'"},
		{"--watch=0", "--watch takes seconds (0.1 to 86400), not '0'"},
		{"--watch=nan", "--watch takes seconds (0.1 to 86400), not 'nan'"},
		{"--help=yes", "--help takes no value"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct options options = {0};
		struct err err = {0};
		struct words words;
		int at = 0;

		words_split(&words, cases[i].line);
		assert_int_equal(options_take(&options, words.words, &at, &err), -EINVAL);
		assert_string_equal(err.msg, cases[i].error);
		words_free(&words);
	}
}

static char *secret_file(char path[32], mode_t mode)
{
	strcpy(path, "/tmp/cli-secret.XXXXXX");
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(dprintf(fd, "s3cret\r\n"), 8);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	return path;
}

static void test_secret_file(void **state)
{
	char path[32];
	char *words[] = {(char *)"K", (char *)"--preshared-key", secret_file(path, 0600), NULL};
	struct options options = {0};
	struct commands commands;
	struct err err = {0};
	struct args args;

	add_ops(&commands);
	const struct op *add = commands_find(&commands, "peers add");

	assert_int_equal(args_parse(add, words, &options, &args, &err), 0);
	assert_string_equal(
		json_string_value(json_object_get(args.values, "preshared-key")), "s3cret");
	args_free(&args);

	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(args_parse(add, words, &options, &args, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "chmod 600 /tmp/cli-secret."));
	unlink(path);
	commands_free(&commands);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_match),
		cmocka_unit_test(test_match_in_full),
		cmocka_unit_test(test_args),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_options_wrong),
		cmocka_unit_test(test_secret_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
