/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands that need no daemon, in the same table of operations as the daemon's. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "complete.h"
#include "help.h"
#include "manual_ops.h"
#include "text.h"

static char *join_words(const json_t *words)
{
	char *text = text_copy("", 0);
	json_t *word;
	size_t i;

	json_array_foreach (words, i, word) {
		char *longer =
			text_printf("%s%s%s", text, i > 0 ? " " : "", json_string_value(word));

		free(text);
		text = longer;
	}
	return text;
}

static char *without_daemon(const struct cli *cli)
{
	if (cli->client.fd >= 0)
		return NULL;
	return text_printf("The daemon adds commands of its own (status, peers, ...), but %s.",
		cli->unreachable.msg);
}

static void print_manual(const struct cli *cli)
{
	for (size_t i = 0; i < cli->commands.count; i++)
		manual_op(stdout, cli->commands.ops[i]);
}

static int help_about(struct cli *cli, const json_t *words, struct err *err)
{
	size_t n = json_array_size(words);
	char **list = text_alloc(n + 1, sizeof(*list));
	struct match match;

	for (size_t i = 0; i < n; i++)
		list[i] = (char *)json_string_value(json_array_get(words, i));
	int rc = commands_match(&cli->commands, list, (int)n, true, &match, err);

	free(list);
	/* The beginning of a command ("keys") is no command, but can be explained. */
	if ((size_t)match.n_path < n) {
		char *given = join_words(words);

		err_set(err, -EINVAL, "unknown command '%s'", given);
		free(given);
		return rc < 0 ? rc : -EINVAL;
	}
	*err = (struct err){0};
	help_command(stdout, &cli->commands, match.path, &cli->screen);
	return 0;
}

static int help(struct cli *cli, const json_t *args, json_t **result, struct err *err)
{
	const json_t *words = json_object_get(args, "command");

	cli_connect(cli);
	if (json_is_true(json_object_get(args, "man"))) {
		print_manual(cli);
		return 0;
	}
	char *note = without_daemon(cli);
	int rc = 0;

	if (json_array_size(words) == 0)
		help_overview(stdout, &cli->commands, &cli->screen, note);
	else if ((rc = help_about(cli, words, err)) < 0 && note != NULL)
		fprintf(stderr, "tailplane: %s\n", note);
	free(note);
	return rc;
}

static int completion(struct cli *cli, const json_t *args, json_t **result, struct err *err)
{
	*result = json_string(completion_bash);
	return 0;
}

static const struct op_arg help_args[] = {
	{"command", SETTING_STRING, OP_ARG_POSITIONAL | OP_ARG_LIST, .help = "its words"},
	{"man", SETTING_BOOL, .help = "all commands as mdoc, for the manual"},
	{0},
};

static const struct op_arg completion_args[] = {
	{"shell", SETTING_ENUM, OP_ARG_POSITIONAL | OP_ARG_REQUIRED,
		(const char *const[]){"bash", NULL}, .help = "the shell"},
	{0},
};

static const struct op_arg keys_new_args[] = {
	{"write", SETTING_PATH,
		.help = "write the private key to this new file (mode 0600) and "
			"show only the public one"},
	{0},
};

static const struct op_arg keys_public_args[] = {
	{"private-key", SETTING_STRING, OP_ARG_POSITIONAL | OP_ARG_SECRET_FILE,
		.help = "file with the private key; standard input unless given"},
	{0},
};

static const struct op_arg keys_psk_args[] = {
	{"write", SETTING_PATH, .help = "write it to this new file (mode 0600), show nothing"},
	{0},
};

static const struct op_arg import_wg_args[] = {
	{"file", SETTING_PATH, OP_ARG_POSITIONAL | OP_ARG_REQUIRED,
		.help = "the configuration, such as /etc/wireguard/wg0.conf; - for standard input"},
	{"write", SETTING_PATH, .help = "write ours to this file, not to standard output"},
	{"keys", SETTING_PATH,
		.help = "folder for the private key and the preshared keys, one file each "
			"(beside the file that is written, else the current one)"},
	{"name", SETTING_STRING, .help = "the tunnel's name (that of the file, without .conf)"},
	{"force", SETTING_BOOL, .help = "replace the file of --write; never a key"},
	{0},
};

static const struct op_column key_columns[] = {
	{"private_key", "private key", OP_TEXT},
	{"public_key", "public key", OP_TEXT},
	{"preshared_key", "preshared key", OP_TEXT},
	{0},
};

const struct local locals[] = {
	{{"help", "Explains the commands.", OP_READ, help_args}, help},
	{{"completion",
		 "Prints the completion script of a shell. For bash: "
		 "tailplane completion bash > /etc/bash_completion.d/tailplane",
		 OP_READ, completion_args},
		completion},
	{{"keys new", "Makes a private key and its public key.", OP_WRITE, keys_new_args,
		 key_columns},
		keys_new},
	{{"keys public", "Prints the public key of a private key.", OP_READ, keys_public_args},
		keys_public},
	{{"keys psk", "Makes a preshared key.", OP_WRITE, keys_psk_args, key_columns}, keys_psk},
	{{"import wg",
		 "Makes a configuration for tailplaned from one of wg-quick(8). Names on standard "
		 "error, with its line, what cannot be carried over.",
		 OP_WRITE, import_wg_args},
		import_wg},
	{{0}},
};
