/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A plugin that writes down which of its hooks was called, in the file that TAILPLANE_TEST_TRACE
 * names, and does in each what its settings say. Built several times: NAME is its name, NEEDS who
 * it needs, OTHER_ABI and so on make it one that cannot be loaded.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tailplane/plugin.h>

#ifndef CALLS_ITSELF
#define CALLS_ITSELF NAME
#endif
#ifndef OPERATION
#define OPERATION NAME
#endif
#ifndef OTHER_ABI
#define OTHER_ABI 0
#endif
#ifndef OTHER_SIZE
#define OTHER_SIZE 0
#endif
#ifndef CAPS
#define CAPS 0
#endif

struct conf {
	int64_t value; /* taken in; -1: refused */
	int64_t place; /* takes a restart */
	bool fail_init, fail_start, hang_in_stop;
	char *fail_start_while; /* a file: while it exists */
	char *secret;
};

static const struct conf *running;

static void trace(const char *hook, const struct conf *conf)
{
	const char *path = getenv("TAILPLANE_TEST_TRACE");
	char line[80];
	int fd, n = snprintf(line, sizeof(line), "%s %s", NAME, hook);

	if (conf)
		n += snprintf(line + n, sizeof(line) - (size_t)n, " %d", (int)conf->value);
	line[n++] = '\n';
	fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT, 0666) : -1;
	if (fd < 0 || write(fd, line, (size_t)n) != n)
		log_warn("no trace");
	if (fd >= 0)
		close(fd);
}

static int init(const void *settings, struct err *err)
{
	const struct conf *conf = settings;

	trace("init", conf);
	return conf->fail_init ? err_set(err, -EIO, "told to fail in init") : 0;
}

static void fini(void)
{
	trace("fini", NULL);
}

static int start(const void *settings, struct err *err)
{
	const struct conf *conf = settings;
	uint8_t secret[64];

	trace("start", conf);
	if (conf->fail_start ||
		(conf->fail_start_while && access(conf->fail_start_while, F_OK) == 0))
		return err_set(err, -EIO, "told to fail in start");
	if (conf->secret && state_read_secret(conf->secret, secret, sizeof(secret), err) < 0)
		return -EIO;
	running = conf;
	core_provide("service of " NAME, &running);
	return 0;
}

static void stop(void)
{
	trace("stop", running);
	while (running->hang_in_stop)
		pause();
	core_provide("service of " NAME, NULL);
	running = NULL;
}

#ifndef NO_CHECK
static enum plugin_reload check(const void *before, const void *next, struct err *err)
{
	const struct conf *a = before, *b = next;

	trace("check", b);
	if (b->value == -1) {
		err_set(err, -EINVAL, "the value -1 cannot be");
		return PLUGIN_REFUSE;
	}
	return a->place == b->place && a->fail_start == b->fail_start ? PLUGIN_ABSORB
								      : PLUGIN_RESTART;
}

static void apply(const void *next)
{
	running = next;
	trace("apply", running);
}
#endif

static void status(json_t *object)
{
	json_object_set_new(object, "value", json_integer(running->value));
}

static void run(struct op_call *call, const json_t *args)
{
	(void)args;
	op_reply(call, json_integer(running->value));
}

static const struct setting settings[] = {
	{.name = "value",
		.type = SETTING_INT,
		.offset = offsetof(struct conf, value),
		.help = "V."},
	{.name = "place",
		.type = SETTING_INT,
		.offset = offsetof(struct conf, place),
		.help = "P."},
	{.name = "fail_init",
		.type = SETTING_BOOL,
		.offset = offsetof(struct conf, fail_init),
		.help = "Fails in init."},
	{.name = "fail_start",
		.type = SETTING_BOOL,
		.offset = offsetof(struct conf, fail_start),
		.help = "Fails in start."},
	{.name = "fail_start_while",
		.type = SETTING_PATH,
		.offset = offsetof(struct conf, fail_start_while),
		.help = "Fails in start while this file exists."},
	{.name = "hang_in_stop",
		.type = SETTING_BOOL,
		.offset = offsetof(struct conf, hang_in_stop),
		.help = "Never comes back from stop."},
	{.name = "secret",
		.type = SETTING_SECRET_FILE,
		.offset = offsetof(struct conf, secret),
		.help = "Read in start."},
	{NULL},
};

static const struct op ops[] = {
	{.name = OPERATION, .help = "Tells the value.", .run = run},
	{NULL},
};

#ifdef NEEDS
static const char *const needs[] = {NEEDS, NULL};
#endif

#ifndef NO_SYMBOL
__attribute__((visibility("default")))
#endif
const struct plugin tailplane_plugin = {
	.abi = TAILPLANE_ABI + OTHER_ABI,
	.size = sizeof(struct plugin) + OTHER_SIZE,
	.name = CALLS_ITSELF,
	.version = "1",
	.summary = "Writes down what happens to it",
#ifdef NEEDS
	.needs = needs,
#endif
	.settings = settings,
	.settings_size = sizeof(struct conf),
	.ops = ops,
	.caps = CAPS,
	.init = init,
	.fini = fini,
	.start = start,
	.stop = stop,
#ifndef NO_CHECK
	.check = check,
	.apply = apply,
#endif
	.status = status,
};
