/* SPDX-License-Identifier: BSD-3-Clause */
/* Life of plugins: mirrored steps, each with its state and reason. Runs on: the control loop. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ops.h"
#include "plugins.h"

const char *const plugin_state_names[] = {
	[STATE_DOWN] = "down",
	[STATE_STARTING] = "starting",
	[STATE_UP] = "up",
	[STATE_STOPPING] = "stopping",
	[STATE_FAILED] = "failed",
};

static struct configuration *active;

struct configuration *plugins_active(void)
{
	return active;
}

void plugins_set_active(struct configuration *configuration)
{
	struct configuration *old = active;

	active = configuration_get(configuration);
	configuration_put(old);
}

void core_each_plugin(void (*fn)(void *arg, const char *name, const char *dir), void *arg)
{
	for (size_t i = 0; active && i < active->n; i++)
		fn(arg, active->plugins[i]->plugin->name, active->plugins[i]->dir);
}

/* ---- one step of one plugin ---- */

void instance_set_state(struct instance *inst, enum plugin_state state, const char *reason)
{
	inst->state = state;
	inst->since = time(NULL);
	snprintf(inst->reason, sizeof(inst->reason), "%s", reason);
	log_debug("plugin %s: %s%s%s", inst->plugin->name, plugin_state_names[state],
		*reason ? ", " : "", reason);
}

static void hold(struct instance *inst, struct configuration *configuration, const void *conf)
{
	struct configuration *old = inst->configuration;

	inst->configuration = configuration_get(configuration);
	inst->conf = conf;
	configuration_put(old);
}

/* The plugin's reason, under its name; one that gave none failed with a number. */
static int fail(
	struct instance *inst, const char *step, int rc, const struct err *why, struct err *err)
{
	const char *reason = *why->msg ? why->msg : strerror(-rc);

	instance_set_state(inst, STATE_FAILED, reason);
	return err_set(err, rc, "plugin %s: %s failed: %s", inst->plugin->name, step, reason);
}

int instance_init(struct instance *inst, const void *conf, struct err *err)
{
	struct err why = {0};
	uint64_t since = core_now();
	int rc = inst->plugin->init ? inst->plugin->init(conf, &why) : 0;

	loop_callback_done(inst->plugin->name, since);
	if (rc)
		return fail(inst, "init", rc, &why, err);
	inst->inited = true;
	return 0;
}

void instance_fini(struct instance *inst)
{
	if (!inst->inited)
		return;
	if (inst->plugin->fini)
		inst->plugin->fini();
	inst->inited = false;
}

int instance_start(struct instance *inst, struct configuration *configuration, const void *conf,
	struct err *err)
{
	struct err why = {0};
	uint64_t since = core_now();
	int rc;

	instance_set_state(inst, STATE_STARTING, "");
	hold(inst, configuration, conf);
	rc = inst->plugin->start ? inst->plugin->start(conf, &why) : 0;
	loop_callback_done(inst->plugin->name, since);
	if (rc) {
		hold(inst, NULL, NULL);
		return fail(inst, "start", rc, &why, err);
	}
	instance_set_state(inst, STATE_UP, "");
	return 0;
}

/* What its clients still wait for ends with it: calls are told before, and what the plugin forgot
 * is answered after. */
void instance_stop(struct instance *inst)
{
	uint64_t since = core_now();

	instance_set_state(inst, STATE_STOPPING, "");
	ops_close_streams(inst);
	if (inst->plugin->stop)
		inst->plugin->stop();
	ops_fail_pending(inst);
	loop_callback_done(inst->plugin->name, since);
	instance_set_state(inst, STATE_DOWN, "");
	hold(inst, NULL, NULL);
}

void instance_apply(struct instance *inst, struct configuration *configuration, const void *conf)
{
	uint64_t since = core_now();
	struct configuration *old = configuration_get(inst->configuration);

	if (inst->plugin->apply)
		inst->plugin->apply(conf);
	loop_callback_done(inst->plugin->name, since);
	hold(inst, configuration, conf);
	configuration_put(old);
}

/* ---- all of them ---- */

int plugins_init(struct configuration *configuration, struct err *err)
{
	plugins_set_active(configuration);
	for (size_t i = 0; i < active->n; i++) {
		int rc = instance_init(active->plugins[i], active->confs[i], err);

		if (rc) {
			while (i--)
				instance_fini(active->plugins[i]);
			return rc;
		}
	}
	return 0;
}

int plugins_start(struct err *err)
{
	for (size_t i = 0; i < active->n; i++) {
		int rc = instance_start(active->plugins[i], active, active->confs[i], err);

		if (rc) {
			while (i--)
				instance_stop(active->plugins[i]);
			return rc;
		}
	}
	return 0;
}

void plugins_stop(void)
{
	for (size_t i = active->n; i--;) {
		if (active->plugins[i]->state == STATE_UP)
			instance_stop(active->plugins[i]);
	}
}

void plugins_fini(void)
{
	for (size_t i = active->n; i--;)
		instance_fini(active->plugins[i]);
	plugins_set_active(NULL);
}

uint64_t plugins_caps(const struct configuration *configuration)
{
	uint64_t caps = 0;

	for (size_t i = 0; i < configuration->n; i++)
		caps |= configuration->plugins[i]->plugin->caps;
	return caps;
}
