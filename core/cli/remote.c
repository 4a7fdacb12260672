/* SPDX-License-Identifier: BSD-3-Clause */
/* Operations of the daemon: asked once, or watched. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "pick.h"
#include "rates.h"
#include "render.h"
#include "text.h"

#define BURST_MS 50 /* rows that come within this time are aligned with each other */

static int open_file(const char *path, bool input, struct err *err)
{
	if (path == NULL)
		return -1;
	if (strcmp(path, "-") == 0)
		return input ? STDIN_FILENO : STDOUT_FILENO;
	int fd = input ? open(path, O_RDONLY | O_CLOEXEC)
		       : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	return fd >= 0 ? fd : err_set(err, -errno, "%s: %s", path, strerror(errno));
}

static enum cli_exit complain(const char *what, const struct err *err, enum cli_exit code)
{
	char *text = text_clean(err->msg, KEEP_LINES);

	fprintf(stderr, "tailplane: %s%s%s\n", what, what[0] != '\0' ? ": " : "", text);
	free(text);
	return code;
}

/* A result of which no tree is made: the daemon wrote it as it is to be shown, or a table shows a
 * part of it. False: read it as any other. */
static bool show_text(struct render_rows *rows, const char *line, size_t len)
{
	static const char begin[] = "{\"result\":";
	const size_t before = sizeof(begin) - 1;
	bool json = rows->output == OUTPUT_JSON_LINE ||
		    (rows->output == OUTPUT_JSON && !rows->screen->tty);
	json_t *picked;

	if (rows->any || len < before + 2 || memcmp(line, begin, before) != 0)
		return false;
	line += before;
	len -= before + 1;
	if (json) {
		fwrite(line, 1, len, rows->out);
		fputc('\n', rows->out);
		return true;
	}
	if (rows->output != OUTPUT_TABLE || rows->columns == NULL)
		return false;
	picked = pick_rows(line, len, rows->columns);
	if (picked == NULL)
		return false;
	render(rows->out, OUTPUT_TABLE, picked, rows->columns, rows->screen);
	json_decref(picked);
	return true;
}

/* Takes rows until the answer. False: there is none, for the reason in `err`. NULL in `answer`: it
 * was shown already. */
static bool receive_answer(
	struct cli *cli, struct render_rows *rows, json_t **answer, struct err *err)
{
	size_t len;

	*answer = NULL;
	for (;;) {
		bool came = client_wait(&cli->client, rows->waiting ? BURST_MS : -1, &len, err);
		json_t *line, *row;

		cli->screen.now_s = time(NULL);
		if (!came && err->msg[0] != '\0')
			return false;
		if (!came) {
			render_rows_flush(rows);
			continue;
		}
		if (show_text(rows, cli->client.buffer, len)) {
			client_drop(&cli->client, len);
			return true;
		}
		line = client_take(&cli->client, len, err);
		if (line == NULL)
			return false;
		row = json_object_get(line, "row");
		if (row == NULL) {
			render_rows_flush(rows);
			*answer = line;
			return true;
		}
		render_row(rows, row);
		json_decref(line);
		if (rows->output != OUTPUT_TABLE)
			fflush(rows->out);
	}
}

/* Shows the answer to what was sent. */
static enum cli_exit show_answer(struct cli *cli, const struct op *op, FILE *out)
{
	struct err err = {0};
	struct render_rows rows = {
		.out = out,
		.output = cli->options.output,
		.columns = op->columns,
		.screen = &cli->screen,
	};
	json_t *answer;
	bool answered = receive_answer(cli, &rows, &answer, &err);
	const json_t *result = json_object_get(answer, "result");
	const char *error = json_string_value(json_object_get(answer, "error"));
	enum cli_exit code = CLI_OK;

	if (!answered) {
		code = complain("", &err, CLI_UNREACHABLE);
	} else if (rows.any && !json_is_null(result) && result != NULL) {
		render_row(&rows, result);
	} else if (!rows.any && result != NULL) {
		render(out, cli->options.output, result, op->columns, &cli->screen);
	}
	render_rows_end(&rows);
	if (error != NULL) {
		fflush(out);
		err_set(&err, -EIO, "%s", error);
		code = complain(op->name, &err, CLI_FAILED);
	}
	json_decref(answer);
	return code;
}

enum cli_exit remote_run(struct cli *cli, const struct op *op, const struct args *args)
{
	struct err err = {0};
	int fd = open_file(args->file, args->input, &err);

	if (fd < -1)
		return complain("", &err, CLI_FAILED);
	int rc = client_send(&cli->client, op->name, args->values, fd, &err);

	/* With the data on stdout, what is said about it goes elsewhere. */
	FILE *out = fd == STDOUT_FILENO ? stderr : stdout;

	if (fd > STDOUT_FILENO)
		close(fd);
	if (rc < 0)
		return complain("", &err, CLI_UNREACHABLE);
	return show_answer(cli, op, out);
}

/* A screenful at once, each line cleared behind its end: nothing flickers. */
static void paint(const struct cli *cli, const char *text, unsigned height)
{
	unsigned line = 0;

	fputs("\033[H", stdout);
	while (*text != '\0' && ++line < height) {
		size_t len = strcspn(text, "\n");

		printf("%.*s\033[K\n", (int)len, text);
		text += len + (text[len] == '\n');
	}
	fputs("\033[J", stdout);
	fflush(stdout);
}

static unsigned screen_size(struct cli *cli)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
		return 24;
	cli->screen.width = size.ws_col;
	return size.ws_row;
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* For people a counter's rate stands behind it; machines have the times of what they ask. */
static const struct op_column *rates_show(
	const struct cli *cli, const struct op *op, struct rates *rates, json_t *result)
{
	const struct op_column *columns = NULL;

	if (cli->options.output == OUTPUT_TABLE && json_is_object(json_array_get(result, 0)))
		columns = rates_columns(rates, op->columns);
	if (columns == NULL)
		return op->columns;
	rates_add(rates, result, now_s());
	return columns;
}

static enum cli_exit ask_once(struct cli *cli, const struct op *op, const struct args *args,
	struct rates *rates, FILE *out)
{
	struct err err = {0};

	/* A daemon that was restarted meanwhile is found again. */
	if (cli->client.fd < 0 && client_connect(&cli->client, cli->options.socket, &err) < 0) {
		fprintf(out, "%s\n", err.msg);
		return CLI_UNREACHABLE;
	}
	cli->screen.now_s = time(NULL);
	json_t *result = client_ask(&cli->client, op->name, args->values, -1, &err);

	if (result != NULL) {
		render(out, cli->options.output, result, rates_show(cli, op, rates, result),
			&cli->screen);
		json_decref(result);
		return CLI_OK;
	}
	fprintf(out, "%s\n", err.msg);
	client_close(&cli->client);
	return CLI_FAILED;
}

static void show_frame(
	struct cli *cli, const struct op *op, const struct args *args, struct rates *rates)
{
	unsigned height = screen_size(cli);
	time_t now = time(NULL);
	char *frame = NULL, clock[16];
	struct tm tm;
	size_t size;
	FILE *out = open_memstream(&frame, &size);

	if (out == NULL)
		return;
	strftime(clock, sizeof(clock), "%H:%M:%S", localtime_r(&now, &tm));
	fprintf(out, "%stailplane %s%s  %s, each %g s\n\n", tone_begin(TONE_TITLE, &cli->screen),
		op->name, tone_end(TONE_TITLE, &cli->screen), clock, cli->options.watch_s);
	ask_once(cli, op, args, rates, out);
	fclose(out);
	paint(cli, frame, height);
	free(frame);
}

enum cli_exit remote_watch(struct cli *cli, const struct op *op, const struct args *args)
{
	struct timespec pause = {
		.tv_sec = (time_t)cli->options.watch_s,
		.tv_nsec =
			(long)((cli->options.watch_s - (double)(time_t)cli->options.watch_s) * 1e9),
	};
	bool screen = cli->screen.tty && cli->options.output == OUTPUT_TABLE;
	enum cli_exit code = CLI_OK;
	struct rates rates = {0};

	if (screen)
		fputs("\033[2J", stdout);
	while (!ferror(stdout)) {
		if (screen)
			show_frame(cli, op, args, &rates);
		else
			code = ask_once(cli, op, args, &rates, stdout);
		if (code != CLI_OK)
			break;
		fflush(stdout);
		nanosleep(&pause, NULL);
	}
	rates_free(&rates);
	return code;
}
