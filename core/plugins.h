/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdio.h>

#include <tailplane/plugin.h>

#include "core_conf.h"
#include "settings_parse.h"

/*
 * Plugins between their file and their life. Everything here runs on the control loop.
 *
 * An instance is a loaded plugin; it exists from the first configuration that names it to the end
 * of the process (objects are never unloaded). A configuration is one that was read and checked as
 * a whole: who is in it, in order of needs, with which settings. Instances hold on to the
 * configuration whose settings they run with.
 */
enum plugin_state { STATE_DOWN, STATE_STARTING, STATE_UP, STATE_STOPPING, STATE_FAILED };

enum plugin_change { CHANGE_NONE, CHANGE_ABSORB, CHANGE_RESTART, CHANGE_ADD, CHANGE_REMOVE };

struct instance {
	struct instance *next; /* in the order loaded */
	const struct plugin *plugin;
	char *dir, *path;
	struct configuration *configuration; /* of `conf`; NULL: none */
	const void *conf;
	enum plugin_state state;
	char reason[sizeof(((struct err *)0)->msg)]; /* of the last change of state */
	int64_t since;                               /* unix time, s */
	bool inited;
	enum plugin_change change; /* while a reload is planned and carried out */
};

struct configuration {
	unsigned refs;
	struct config *config;
	const struct core_conf *core;
	struct instance **plugins; /* those they need come first */
	const void **confs;        /* of each */
	size_t n;
};

/* ---- plugin_load.c ---- */

/* The plugin of that name, loaded now if it was not yet; NULL with a reason. */
struct instance *plugin_load(
	const char *name, const struct setting_list *plugin_path, struct err *err);
/* All plugins in the directories: for the manual. What cannot be loaded is left out. */
void plugin_load_all(const struct setting_list *plugin_path);
/* The first of those ever loaded. */
struct instance *plugin_first(void);

/* ---- plugin_order.c ---- */

/*
 * Puts `n` plugins so that each comes behind those it needs, and otherwise as they were. 0, or
 * -EINVAL with who needs whom: missing, or in a circle; `at` is then the plugin to complain about.
 */
int plugin_order(struct instance **plugins, size_t n, size_t *at, struct err *err);
/* Whether `plugin` needs `other`, itself or through others of the `n`. */
bool plugin_needs(struct instance *const *plugins, size_t n, const struct plugin *plugin,
	const struct plugin *other);

/* ---- configuration.c ---- */

/*
 * Reads, loads the plugins that are named, binds and checks everything; `path` NULL: the file of
 * the system, or the embedded default where there is none. NULL with all complaints in `errors`.
 */
struct configuration *configuration_read(const char *path, FILE *errors);
struct configuration *configuration_get(struct configuration *configuration);
void configuration_put(struct configuration *configuration);
/* Its place of `instance`, or -1. */
ssize_t configuration_find(const struct configuration *configuration, const struct instance *inst);

/* ---- plugin_life.c ---- */

extern const char *const plugin_state_names[];

/* That which runs; NULL before plugins_init. */
struct configuration *plugins_active(void);
void plugins_set_active(struct configuration *configuration);

/* One step of one plugin, with state, reason and time. */
int instance_init(struct instance *inst, const void *conf, struct err *err);
void instance_fini(struct instance *inst);
int instance_start(struct instance *inst, struct configuration *configuration, const void *conf,
	struct err *err);
void instance_stop(struct instance *inst);
void instance_apply(struct instance *inst, struct configuration *configuration, const void *conf);
void instance_set_state(struct instance *inst, enum plugin_state state, const char *reason);

/* All of a configuration, in order; a failure takes back what was done. */
int plugins_init(struct configuration *configuration, struct err *err);
int plugins_start(struct err *err);
void plugins_stop(void);
void plugins_fini(void);
/* The capabilities that any of them needs. */
uint64_t plugins_caps(const struct configuration *configuration);

/* ---- plugin_reload.c ---- */

/* 0, or -errno with `*errors` (heap) in lines; then everything is as before, or said otherwise.
 * `*summary` (heap) tells what was done. */
int plugins_reload(const char *path, char **summary, char **errors);
/*
 * Stops the plugins that `who` picks and those that need them, calls `between`, and starts them
 * again whatever it answered. Its error, or else the first of a start, which leaves that plugin
 * FAILED.
 */
int plugins_restart_around(bool (*who)(const struct plugin *plugin),
	int (*between)(void *arg, struct err *err), void *arg, struct err *err);
