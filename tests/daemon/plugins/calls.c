/* SPDX-License-Identifier: BSD-3-Clause */
/* A plugin whose operations answer in every way there is. */
#include <fcntl.h>
#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tailplane/plugin.h>

static ev_timer tick;
static struct op_call *streaming, *waiting;
static int64_t closed, written;

static void spend(uint64_t ns)
{
	uint64_t until = core_now() + ns;

	while (core_now() < until)
		continue;
}

/* ---- at once ---- */

static void run_echo(struct op_call *call, const json_t *args)
{
	op_reply(call, json_deep_copy(args));
}

static void run_fail(struct op_call *call, const json_t *args)
{
	(void)args;
	op_fail(call, "failed with %d", 42);
}

/* Longer than the loop may be held. */
static void run_hold(struct op_call *call, const json_t *args)
{
	(void)args;
	spend(60 * 1000000ull);
	op_reply(call, NULL);
}

/* More than a client that does not read may have waiting. */
static void run_flood(struct op_call *call, const json_t *args)
{
	json_int_t mib = json_integer_value(json_object_get(args, "mib"));
	char *text = malloc(1 << 20);

	memset(text, 'x', 1 << 20);
	for (json_int_t i = 0; i < mib; i++)
		op_emit(call, json_stringn(text, 1 << 20));
	free(text);
	op_reply(call, NULL);
}

static void run_log(struct op_call *call, const json_t *args)
{
	const char *text = json_string_value(json_object_get(args, "text"));
	json_int_t times = json_integer_value(json_object_get(args, "times"));

	for (json_int_t i = 0; i < times; i++)
		log_info("%s", text);
	op_reply(call, NULL);
}

static void run_present(struct op_call *call, const json_t *args)
{
	(void)args;
	log_present("for your eyes\n");
	op_reply(call, NULL);
}

static void run_file(struct op_call *call, const json_t *args)
{
	int fd = op_take_fd(call);

	(void)args;
	if (write(fd, "by the daemon\n", 14) != 14)
		log_warn("write");
	close(fd);
	op_reply(call, NULL);
}

static void run_counts(struct op_call *call, const json_t *args)
{
	(void)args;
	op_reply(call, json_pack("{s:I, s:I, s:b}", "closed", (json_int_t)closed, "written",
			       (json_int_t)written, "streams", streaming != NULL));
}

/* ---- later ---- */

struct answer_job {
	struct job job;
	struct op_call *call;
	int64_t number;
};

static void answer_run(struct job *job)
{
	struct answer_job *answer = (struct answer_job *)job;

	answer->number *= 2;
}

static void answer_done(struct job *job)
{
	struct answer_job *answer = (struct answer_job *)job;

	op_reply(answer->call, json_integer(answer->number));
	free(answer);
}

static void run_twice(struct op_call *call, const json_t *args)
{
	struct answer_job *answer = calloc(1, sizeof(*answer));

	answer->job = (struct job){.run = answer_run, .done = answer_done, .name = "answer"};
	answer->call = call;
	answer->number = json_integer_value(json_object_get(args, "number"));
	job_submit(&answer->job);
}

static void was_written(void *arg, int error, const struct err *err)
{
	written++;
	if (error)
		op_fail(arg, "%s", err->msg);
	else
		op_reply(arg, json_integer(written));
}

static void run_write(struct op_call *call, const json_t *args)
{
	const char *path = json_string_value(json_object_get(args, "path"));
	const char *text = json_string_value(json_object_get(args, "text"));

	state_write_later(path, text, strlen(text), 0600, was_written, call);
}

static void invoked(void *arg, const json_t *result, const char *error)
{
	if (error)
		op_fail(arg, "the other said: %s", error);
	else
		op_reply(arg, json_pack("{s:O}", "it", result));
}

static void run_invoke(struct op_call *call, const json_t *args)
{
	const char *op = json_string_value(json_object_get(args, "name"));

	op_invoke(op, json_pack("{s:i}", "number", 21), invoked, call);
}

/* Answers never, and cannot be told that its client has gone. */
static void run_silent(struct op_call *call, const json_t *args)
{
	(void)args;
	waiting = call;
}

/* ---- from watchers of its own ---- */

static ev_timer once;
static struct op_call *awaited;
static pid_t child;

/* Not made with LOOP_CALLBACK: nobody knows its name. */
static void hold_quietly(struct ev_loop *loop, ev_timer *watcher, int revents)
{
	(void)loop, (void)watcher, (void)revents;
	spend(60 * 1000000ull);
	op_reply(awaited, NULL);
}

static void run_hold_quietly(struct op_call *call, const json_t *args)
{
	(void)args;
	awaited = call;
	ev_timer_init(&once, hold_quietly, 0., 0.);
	ev_timer_start(core_loop(), &once);
}

LOOP_CALLBACK(child_wait, ev_timer)
{
	int status;

	(void)loop, (void)watcher, (void)revents;
	if (waitpid(child, &status, 0) == child)
		op_reply(awaited, json_integer(WEXITSTATUS(status)));
	else
		op_fail(awaited, "waitpid: %s", strerror(errno));
}

/* The child has ended when the loop turns: its status must still be ours to fetch. */
static void run_child(struct op_call *call, const json_t *args)
{
	char name[] = "false";
	char *const argv[] = {name, NULL};
	siginfo_t info;

	(void)args;
	if (posix_spawnp(&child, name, NULL, NULL, argv, environ) != 0 ||
		waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) != 0) {
		op_fail(call, "cannot start a program");
		return;
	}
	awaited = call;
	ev_timer_init(&once, child_wait, 0.02, 0.);
	ev_timer_start(core_loop(), &once);
}

/* ---- a stream ---- */

static void stream_closed(void *arg)
{
	(void)arg;
	streaming = NULL;
	closed++;
}

LOOP_CALLBACK(stream_tick, ev_timer)
{
	(void)loop, (void)watcher, (void)revents;
	if (streaming)
		op_emit(streaming, json_pack("{s:I}", "closed", (json_int_t)closed));
}

static void run_stream(struct op_call *call, const json_t *args)
{
	(void)args;
	streaming = call;
	op_on_close(call, stream_closed, NULL);
}

/* ---- the table ---- */

static const char *const colours[] = {"red", "green", NULL};

static const struct op_arg echo_args[] = {
	{.name = "bool", .type = SETTING_BOOL},
	{.name = "int", .type = SETTING_INT},
	{.name = "string", .type = SETTING_STRING},
	{.name = "colour", .type = SETTING_ENUM, .choices = colours},
	{.name = "duration", .type = SETTING_DURATION},
	{.name = "size", .type = SETTING_SIZE},
	{.name = "rate", .type = SETTING_RATE},
	{.name = "address", .type = SETTING_ADDRESS},
	{.name = "prefixes", .type = SETTING_PREFIX, .flags = OP_ARG_LIST},
	{.name = "endpoint", .type = SETTING_ENDPOINT},
	{.name = "key", .type = SETTING_KEY},
	{NULL},
};

static const struct op_arg number_args[] = {
	{.name = "number", .type = SETTING_INT, .flags = OP_ARG_REQUIRED | OP_ARG_POSITIONAL},
	{NULL},
};

static const struct op_arg flood_args[] = {
	{.name = "mib", .type = SETTING_INT, .flags = OP_ARG_REQUIRED},
	{NULL},
};

static const struct op_arg log_args[] = {
	{.name = "text", .type = SETTING_STRING, .flags = OP_ARG_REQUIRED},
	{.name = "times", .type = SETTING_INT, .flags = OP_ARG_REQUIRED},
	{NULL},
};

static const struct op_arg file_args[] = {
	{.name = "file", .type = SETTING_PATH, .flags = OP_ARG_REQUIRED | OP_ARG_FILE},
	{NULL},
};

static const struct op_arg write_args[] = {
	{.name = "path", .type = SETTING_STRING, .flags = OP_ARG_REQUIRED},
	{.name = "text", .type = SETTING_STRING, .flags = OP_ARG_REQUIRED},
	{NULL},
};

static const struct op_arg invoke_args[] = {
	{.name = "name", .type = SETTING_STRING, .flags = OP_ARG_REQUIRED},
	{NULL},
};

static const struct op ops[] = {
	{.name = "echo", .help = "Gives back.", .args = echo_args, .run = run_echo},
	{.name = "fail", .help = "Fails.", .run = run_fail},
	{.name = "hold", .help = "Holds the loop.", .run = run_hold},
	{.name = "hold quietly", .help = "Holds the loop, too.", .run = run_hold_quietly},
	{.name = "child", .help = "Runs a program.", .run = run_child},
	{.name = "flood", .help = "Says much.", .args = flood_args, .run = run_flood},
	{.name = "log", .help = "Logs.", .args = log_args, .run = run_log},
	{.name = "present", .help = "Shows.", .run = run_present},
	{.name = "file", .help = "Writes.", .args = file_args, .run = run_file},
	{.name = "counts", .help = "Counts.", .run = run_counts},
	{.name = "twice", .help = "Doubles.", .args = number_args, .run = run_twice},
	{.name = "write", .help = "Keeps.", .args = write_args, .run = run_write},
	{.name = "invoke", .help = "Asks another.", .args = invoke_args, .run = run_invoke},
	{.name = "silent", .help = "Says nothing.", .run = run_silent},
	{.name = "stream", .help = "Goes on.", .run = run_stream},
	{NULL},
};

static int start(const void *conf, struct err *err)
{
	(void)conf, (void)err;
	ev_timer_init(&tick, stream_tick, 0.01, 0.01);
	ev_timer_start(core_loop(), &tick);
	return 0;
}

static void stop(void)
{
	ev_timer_stop(core_loop(), &tick);
	jobs_drain();
}

/* Whom it left waiting has been answered by the core: this goes nowhere. */
static void fini(void)
{
	if (waiting)
		op_reply(waiting, NULL);
	waiting = NULL;
}

static void collect(struct metric_sink *sink)
{
	static const struct metric metric = {
		"tailplane_test_labels", METRIC_GAUGE, "Labels \\ that need\nescapes."};
	static const struct metric_label label = {"text", "a \"quoted\" \\ and\nbroken"};

	metric_add(sink, &metric, &label, 1, 0.25);
}

__attribute__((visibility("default"))) const struct plugin tailplane_plugin = {
	.abi = TAILPLANE_ABI,
	.size = sizeof(struct plugin),
	.name = "calls",
	.version = "1",
	.summary = "Operations that answer in every way",
	.ops = ops,
	.start = start,
	.stop = stop,
	.fini = fini,
	.collect = collect,
};
