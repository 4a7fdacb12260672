/* SPDX-License-Identifier: BSD-3-Clause */
/* A configuration with the plugins that it names: read and checked as a whole, without effect on
 * what runs. Runs on: the control loop. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arena.h"
#include "default_conf.h"
#include "plugins.h"

#define SYSTEM_CONF SYSCONF_DIR "/tailplane.conf"

static struct config *open_text(const char *path)
{
	if (path)
		return config_open(path);
	if (access(SYSTEM_CONF, F_OK) == 0)
		return config_open(SYSTEM_CONF);
	return config_open_text("(built-in configuration)", default_conf, default_conf_len);
}

/* Where the core's own group is at fault, its defaults will do to find more to complain about. */
static void load_plugins(struct configuration *c)
{
	static const struct setting_list nowhere;
	const char *const *names;
	size_t n = config_plugins(c->config, &names), at = 0;
	struct setting_errors *errs = config_errors(c->config);
	struct err err = {0};

	for (size_t i = 0; i < n; i++) {
		struct err why = {0};
		struct instance *inst =
			plugin_load(names[i], c->core ? &c->core->plugin_path : &nowhere, &why);

		if (inst) {
			c->plugins = array_grow(c->plugins, c->n, sizeof(struct instance *));
			c->plugins[c->n++] = inst;
		} else {
			setting_error(errs, &names[i], "%s", why.msg);
		}
	}
	/* one that could not be loaded would be missed again */
	if (c->n == n && plugin_order(c->plugins, n, &at, &err) != 0)
		setting_error(errs, &names[at], "%s", err.msg);
}

static void bind_plugins(struct configuration *c)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct plugin *plugin = c->plugins[i]->plugin;

		c->confs = array_grow(c->confs, i, sizeof(*c->confs));
		c->confs[i] = config_bind(
			c->config, plugin->name, plugin->settings, plugin->settings_size);
	}
}

/* When all are bound, since a check may look at what another group says (setting_of). */
static void validate_plugins(const struct configuration *c)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct plugin *plugin = c->plugins[i]->plugin;

		if (c->confs[i] && plugin->validate)
			plugin->validate(c->confs[i], config_errors(c->config));
	}
}

struct configuration *configuration_read(const char *path, FILE *errors)
{
	struct configuration *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	c->refs = 1;
	c->config = open_text(path);
	c->core = config_bind(c->config, "core", core_settings, sizeof(*c->core));
	if (c->core)
		core_conf_validate(c->core, config_errors(c->config));
	load_plugins(c);
	bind_plugins(c);
	validate_plugins(c);
	if (config_finish(c->config) == 0)
		return c;
	config_print_errors(c->config, errors);
	configuration_put(c);
	return NULL;
}

struct configuration *configuration_get(struct configuration *c)
{
	if (c)
		c->refs++;
	return c;
}

void configuration_put(struct configuration *c)
{
	if (!c || --c->refs)
		return;
	config_free(c->config);
	free(c->plugins);
	free(c->confs);
	free(c);
}

ssize_t configuration_find(const struct configuration *c, const struct instance *inst)
{
	for (size_t i = 0; c && i < c->n; i++) {
		if (c->plugins[i] == inst)
			return (ssize_t)i;
	}
	return -1;
}
