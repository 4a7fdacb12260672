/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command `tailplane`. The daemon says which operations it has, and this program turns words
 * into a request and the answer into something to read; it knows no operation by name. What needs
 * no daemon (local.c) is in the same table.
 */
#include "cli.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "complete.h"
#include "elsewhere.h"
#include "help.h"
#include "render.h"
#include "secret.h"
#include "text.h"
#include "words.h"

#define DESCRIBE_MS 10000

static void say(const char *text)
{
	char *clean = text_clean(text, KEEP_LINES);

	fprintf(stderr, "tailplane: %s\n", clean);
	free(clean);
}

/* JSON carries keys here: what it frees is zeroed. */
static void json_free(void *p)
{
	if (p != NULL)
		secret_zero(p, malloc_usable_size(p));
	free(p);
}

static void screen_init(struct screen *screen, enum colour colour)
{
	const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR");
	const char *columns = getenv("COLUMNS");
	struct winsize size;

	screen->tty = isatty(STDOUT_FILENO);
	screen->now_s = time(NULL);
	screen->colour =
		colour == COLOUR_ALWAYS || (colour == COLOUR_AUTO && screen->tty &&
						   (no_colour == NULL || no_colour[0] == '\0') &&
						   (term == NULL || strcmp(term, "dumb") != 0));
	if (!screen->tty)
		return;
	screen->width = 80;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		screen->width = size.ws_col;
	else if (columns != NULL && atoi(columns) > 0)
		screen->width = (unsigned)atoi(columns);
}

static void add_locals(struct cli *cli)
{
	for (const struct local *local = locals; local->op.name != NULL; local++)
		commands_add(&cli->commands, &local->op);
}

void cli_connect(struct cli *cli)
{
	struct err *err = &cli->unreachable;

	if (cli->client.fd >= 0 || err->msg[0] != '\0')
		return;
	if (strcmp(cli->options.socket, "none") == 0) {
		err_set(err, -ENOENT, "no daemon was asked: the socket is 'none'");
		return;
	}
	if (client_connect(&cli->client, cli->options.socket, err) < 0)
		return;
	json_t *none = json_object();
	json_t *table = client_ask(&cli->client, "describe", none, DESCRIBE_MS, err);

	json_decref(none);
	if (table == NULL)
		err_set(err, -ETIMEDOUT, "the daemon at %s does not answer", cli->options.socket);
	if (table == NULL || commands_describe(&cli->commands, table, err) < 0)
		client_close(&cli->client);
	json_decref(table);
	add_locals(cli); /* ours win over an operation of the same name */
}

static const struct local *local_of(const struct op *op)
{
	for (const struct local *local = locals; local->op.name != NULL; local++)
		if (&local->op == op)
			return local;
	return NULL;
}

static enum cli_exit local_run(struct cli *cli, const struct local *local, const struct args *args)
{
	struct err err = {0};
	json_t *result = NULL;
	int rc = local->run(cli, args->values, &result, &err);

	if (rc < 0)
		say(err.msg);
	else if (result != NULL)
		render(stdout, cli->options.output, result, local->op.columns, &cli->screen);
	json_decref(result);
	return rc < 0 ? CLI_FAILED : CLI_OK;
}

static enum cli_exit usage_error(const struct op *op, const struct err *err)
{
	say(err->msg);
	if (op != NULL)
		help_usage(stderr, op);
	return CLI_USAGE;
}

/* `words` follow the name of the operation. */
static enum cli_exit run_op(struct cli *cli, const struct op *op, char *const *words)
{
	const struct local *local = local_of(op);
	struct err err = {0};
	struct args args;

	if (args_parse(op, words, &cli->options, &args, &err) < 0)
		return usage_error(op, &err);
	screen_init(&cli->screen, cli->options.colour);
	enum cli_exit code;

	if (cli->options.help) {
		help_command(stdout, &cli->commands, op->name, &cli->screen);
		code = CLI_OK;
	} else if (cli->options.watch_s > 0 &&
		   (local != NULL || op->scope != OP_READ || args.file != NULL)) {
		err_set(&err, -EINVAL,
			"'%s' cannot be watched: it does not show a state of the daemon", op->name);
		code = usage_error(NULL, &err);
	} else if (local != NULL) {
		code = local_run(cli, local, &args);
	} else if (cli->options.watch_s > 0) {
		code = remote_watch(cli, op, &args);
	} else {
		code = remote_run(cli, op, &args);
	}
	args_free(&args);
	return code;
}

static int count_words(char *const *words)
{
	int n = 0;

	while (words[n] != NULL)
		n++;
	return n;
}

/* Is it a command of Headscale's that is none here, or (`slips`: all of ours are known) nearer to
 * one than to any of ours? Then `err` has the way out. */
static bool foreign(char *const *words, const struct match *match, bool slips, struct err *err)
{
	const char *word = words[match->n_path];
	const char *instead = word != NULL ? elsewhere_find(match->path, word) : NULL;

	if (instead == NULL && word != NULL && slips)
		instead = elsewhere_near(match->path, word, match->slip);
	if (instead == NULL)
		return false;
	*err = (struct err){0};
	err_set(err, -EINVAL, "there is no command '%s%s%s': %s", match->path,
		match->n_path > 0 ? " " : "", word, instead);
	return true;
}

static enum cli_exit run_words(struct cli *cli, char *const *words)
{
	int n = count_words(words);
	struct err err = {0};
	struct match match;

	/* A local command said in full does not ask the daemon. */
	if (commands_match(&cli->commands, words, n, false, &match, &err) == 0)
		return run_op(cli, match.op, words + match.n_words);
	options_find_socket(&cli->options, words);
	cli_connect(cli);
	err = (struct err){0};
	if (commands_match(&cli->commands, words, n, true, &match, &err) == 0)
		return run_op(cli, match.op, words + match.n_words);
	if (match.n_path > 0 && words[match.n_path] != NULL &&
		(strcmp(words[match.n_path], "--help") == 0 ||
			strcmp(words[match.n_path], "-h") == 0)) {
		screen_init(&cli->screen, cli->options.colour);
		help_command(stdout, &cli->commands, match.path, &cli->screen);
		return CLI_OK;
	}
	if (foreign(words, &match, cli->client.fd >= 0 || match.n_path > 0, &err))
		return usage_error(NULL, &err);
	if (cli->client.fd < 0 && match.n_path == 0) {
		say(cli->unreachable.msg);
		return CLI_UNREACHABLE;
	}
	return usage_error(NULL, &err);
}

static enum cli_exit run_help(struct cli *cli)
{
	char *const words[] = {NULL};

	cli->options.help = false;
	return run_op(cli, commands_find(&cli->commands, "help"), words);
}

/* `tailplane __complete LINE BREAKS`, called by the shell's script. */
static enum cli_exit run_complete(struct cli *cli, int argc, char *const *argv)
{
	struct words words;

	if (argc < 3)
		return CLI_USAGE;
	words_split(&words, argv[2]);
	options_find_socket(&cli->options, words.words);
	cli_connect(cli);
	complete(stdout, &cli->commands, &cli->client, argv[2], argc > 3 ? argv[3] : "");
	words_free(&words);
	return CLI_OK;
}

static enum cli_exit run(struct cli *cli, int argc, char *const *argv)
{
	struct err err = {0};
	int i = 1, rc = 1;

	if (argc > 1 && strcmp(argv[1], "__complete") == 0)
		return run_complete(cli, argc, argv);
	while (rc == 1 && argv[i] != NULL && argv[i][0] == '-')
		rc = options_take(&cli->options, argv, &i, &err);
	if (rc == 0) {
		const char *instead = elsewhere_find("", argv[i]);

		err_set(&err, -EINVAL, "unknown option '%s'%s%s", argv[i],
			instead != NULL ? ": " : "", instead != NULL ? instead : "");
	}
	if (rc <= 0)
		return usage_error(NULL, &err);
	if (cli->options.version) {
		puts("tailplane " TAILPLANE_VERSION);
		return CLI_OK;
	}
	if (cli->options.help)
		return argv[i] != NULL ? run_words(cli, argv + i) : run_help(cli);
	if (argv[i] == NULL) {
		err_set(&err, -EINVAL, "which command? 'tailplane help' lists them");
		return usage_error(NULL, &err);
	}
	return run_words(cli, argv + i);
}

int main(int argc, char **argv)
{
	struct cli cli = {.client = {.fd = -1}};

	/* Keys pass through: no core dump may hold one. A limit of 0 would still feed a crash
	 * handler behind a pipe; of 1 byte, the kernel gives none to either (core(5)). */
	setrlimit(RLIMIT_CORE, &(struct rlimit){1, 1});
	signal(SIGPIPE, SIG_DFL);
	json_set_alloc_funcs(malloc, json_free);
	mallopt(M_MXFAST, 0); /* glibc sweeps its fast bins all the time while a tree is freed */
	cli.screen.utf8 = text_init();
	options_init(&cli.options);
	add_locals(&cli);
	enum cli_exit code = run(&cli, argc, argv);

	if (fflush(stdout) != 0 && code == CLI_OK) {
		fprintf(stderr, "tailplane: standard output: %s\n", strerror(errno));
		code = CLI_FAILED;
	}
	client_close(&cli.client);
	commands_free(&cli.commands);
	return code;
}
