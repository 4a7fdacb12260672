/* SPDX-License-Identifier: BSD-3-Clause */
/* The core's own operations. Run on: the control loop. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "aead.h"
#include "daemon.h"
#include "log_thread.h"
#include "metrics_text.h"
#include "ops.h"
#include "plugins.h"
#include "store.h"
#include "store_backup.h"
#include "successor.h"
#include "tls_status.h"

static void run_describe(struct op_call *call, const json_t *args)
{
	(void)args;
	op_reply(call, ops_describe());
}

/* ---- plugins ---- */

static json_t *needs_of(const struct plugin *plugin)
{
	json_t *list = json_array();

	for (const char *const *need = plugin->needs; need && *need; need++)
		json_array_append_new(list, json_string(*need));
	return list;
}

static json_t *row_of(const struct instance *inst)
{
	const struct plugin *plugin = inst->plugin;
	const char *version = plugin->version ? plugin->version : "";
	const char *summary = plugin->summary ? plugin->summary : "";

	return json_pack("{s:s, s:s, s:s, s:I, s:s, s:o, s:s, s:s}", "name", plugin->name, "state",
		plugin_state_names[inst->state], "reason", inst->reason, "since",
		(json_int_t)inst->since, "version", version, "needs", needs_of(plugin), "summary",
		summary, "file", inst->path);
}

static void run_plugins(struct op_call *call, const json_t *args)
{
	const struct configuration *active = plugins_active();
	json_t *rows = json_array();

	(void)args;
	for (size_t i = 0; i < active->n; i++)
		json_array_append_new(rows, row_of(active->plugins[i]));
	for (struct instance *inst = plugin_first(); inst; inst = inst->next) {
		if (configuration_find(active, inst) < 0)
			json_array_append_new(rows, row_of(inst));
	}
	op_reply(call, rows);
}

static const struct op_column plugins_columns[] = {
	{"name", "plugin", OP_TEXT},
	{"state", "state", OP_STATE},
	{"since", "since", OP_AGO},
	{"reason", "reason", OP_TEXT},
	{"version", "version", OP_TEXT},
	{"needs", "needs", OP_TEXT},
	{"summary", "summary", OP_TEXT},
	{NULL},
};

/* ---- status ---- */

static json_t *status_of(const struct instance *inst)
{
	json_t *status = json_pack("{s:s}", "state", plugin_state_names[inst->state]);

	if (*inst->reason)
		json_object_set_new(status, "reason", json_string(inst->reason));
	if (inst->state == STATE_UP && inst->plugin->status)
		inst->plugin->status(status);
	return status;
}

static void run_status(struct op_call *call, const json_t *args)
{
	const struct configuration *active = plugins_active();
	json_t *status =
		json_pack("{s:s, s:i, s:I, s:s, s:s, s:s, s:s}", "version", TAILPLANE_VERSION,
			"pid", (int)getpid(), "uptime", (json_int_t)(core_now() - daemon_since()),
			"state_dir", core_state_dir(), "runtime_dir", core_runtime_dir(),
			"log_level", log_level_names[log_level_get()], "aead", aead_chosen()->name);

	(void)args;
	store_status(status);
	tls_status(status);
	for (size_t i = 0; i < active->n; i++)
		json_object_set_new(
			status, active->plugins[i]->plugin->name, status_of(active->plugins[i]));
	op_reply(call, status);
}

/* `table` keys of plugins are not known here: the command shows what has no column as it comes. */
static const struct op_column status_columns[] = {
	{"version", "version", OP_TEXT},
	{"pid", "process", OP_TEXT},
	{"uptime", "up for", OP_DURATION},
	{"state_dir", "state directory", OP_TEXT},
	{"runtime_dir", "runtime directory", OP_TEXT},
	{"log_level", "log level", OP_TEXT},
	{"aead", "ChaCha20-Poly1305", OP_TEXT},
	{NULL},
};

/* ---- the rest ---- */

static void run_reload(struct op_call *call, const json_t *args)
{
	char *summary = NULL, *errors = NULL;

	(void)args;
	if (daemon_reload(&summary, &errors) == 0) {
		op_reply(call, json_string(summary));
	} else {
		op_fail(call, "%.*s", (int)strlen(errors) - 1, errors); /* less its last newline */
	}
	free(summary);
	free(errors);
}

static void run_restart(struct op_call *call, const json_t *args)
{
	(void)args;
	successor_start(call);
}

static const struct op_column restart_columns[] = {
	{"pid", "process that has taken over", OP_TEXT},
	{NULL},
};

static void run_metrics(struct op_call *call, const json_t *args)
{
	size_t len;
	char *text = metrics_scrape(&len);
	json_t *result = text ? json_stringn(text, len) : NULL;

	(void)args;
	if (result)
		op_reply(call, result);
	else
		op_fail(call, "no memory for the metrics, or a plugin's labels are no text");
	free(text);
}

static int level_of(const char *name)
{
	int level = 0;

	while (strcmp(log_level_names[level], name) != 0)
		level++;
	return level;
}

static void run_log_level(struct op_call *call, const json_t *args)
{
	const char *level = json_string_value(json_object_get(args, "level"));

	if (level)
		daemon_set_log_level(level_of(level));
	op_reply(call, json_string(log_level_names[log_level_get()]));
}

static const struct op_arg log_level_args[] = {
	{.name = "level",
		.type = SETTING_ENUM,
		.flags = OP_ARG_POSITIONAL,
		.choices = log_level_names,
		.help = "The least important messages that are still logged."},
	{NULL},
};

static const struct op_arg backup_args[] = {
	{.name = "file",
		.type = SETTING_PATH,
		.flags = OP_ARG_REQUIRED | OP_ARG_POSITIONAL | OP_ARG_FILE,
		.help = "The backup, made or replaced. It holds keys: keep it as you keep them."},
	{NULL},
};

static const struct op_arg restore_args[] = {
	{.name = "file",
		.type = SETTING_PATH,
		.flags = OP_ARG_REQUIRED | OP_ARG_POSITIONAL | OP_ARG_FILE | OP_ARG_INPUT,
		.help = "A backup that `tailplane backup` made."},
	{NULL},
};

static const struct op_column backup_columns[] = {
	{"bytes", "size", OP_BYTES},
	{"files", "files beside the tables", OP_COUNT},
	{NULL},
};

static void run_version(struct op_call *call, const json_t *args)
{
	(void)args;
	op_reply(call, json_pack("{s:s}", "version", TAILPLANE_VERSION));
}

static const struct op_column version_columns[] = {{"version", "version", OP_ALONE}, {NULL}};

/* Headscale's word for it; what failed is in the answer as well. */
static void run_health(struct op_call *call, const json_t *args)
{
	const struct configuration *active = plugins_active();
	const char *why = NULL;
	json_t *health = json_pack("{s:b}", "databaseConnectivity", store_healthy(&why));
	json_t *failed = json_array();

	(void)args;
	if (why)
		json_array_append_new(failed, json_sprintf("store: %s", why));
	for (size_t i = 0; i < active->n; i++) {
		const struct instance *inst = active->plugins[i];

		if (inst->state != STATE_UP)
			json_array_append_new(
				failed, json_sprintf("plugin %s: %s: %s", inst->plugin->name,
						plugin_state_names[inst->state], inst->reason));
	}
	if (json_array_size(failed)) {
		char *text = json_dumps(failed, 0);

		op_fail(call, "not healthy: %s", text);
		free(text);
		json_decref(health);
	} else {
		op_reply(call, health);
	}
	json_decref(failed);
}

static void run_configtest(struct op_call *call, const json_t *args)
{
	char *errors = NULL;

	(void)args;
	if (daemon_check(&errors) == 0)
		op_reply(call, json_string("the configuration is good"));
	else
		op_fail(call, "%.*s", (int)strlen(errors) - 1, errors); /* less its last newline */
	free(errors);
}

const struct op core_ops[] = {
	{.name = "describe", .help = "Tell all operations, for programs.", .run = run_describe},
	{.name = "status",
		.help = "Show the state of the daemon and of its plugins, and which parts of TLS "
			"are its own here or OpenSSL's.",
		.columns = status_columns,
		.run = run_status},
	{.name = "plugins",
		.help = "Show the plugins, their states and why they are in them.",
		.columns = plugins_columns,
		.run = run_plugins},
	{.name = "reload",
		.help = "Read the configuration again, and change over to it as a whole or not at "
			"all.",
		.scope = OP_WRITE,
		.run = run_reload},
	{.name = "restart",
		.help = "Start the daemon anew without a gap: another process takes over the "
			"sockets, and this one ends its connections bit by bit. Not where a plugin "
			"has state that one process must have to itself, as control has.",
		.scope = OP_WRITE,
		.columns = restart_columns,
		.run = run_restart},
	{.name = "configtest",
		.help = "Check the configuration file without taking it in.",
		.run = run_configtest},
	{.name = "health",
		.help = "Tell whether all plugins run and the store can be written; else fail.",
		.run = run_health},
	{.name = "version",
		.help = "Show the daemon's version.",
		.columns = version_columns,
		.run = run_version},
	{.name = "metrics", .help = "Show all metrics as Prometheus text.", .run = run_metrics},
	{.name = "log level",
		.help = "Show the level of the log, or set it until the next restart or reload.",
		.scope = OP_WRITE,
		.args = log_level_args,
		.run = run_log_level},
	{.name = "backup",
		.help = "Copy the whole store, keys included, into a file while everything runs.",
		.args = backup_args,
		.columns = backup_columns,
		.run = store_run_backup},
	{.name = "restore",
		.help = "Put a backup in place of the store. Plugins that keep tables restart; ids "
			"and addresses given out since the backup are not given out again.",
		.scope = OP_WRITE,
		.args = restore_args,
		.columns = backup_columns,
		.run = store_run_restore},
	{NULL},
};
