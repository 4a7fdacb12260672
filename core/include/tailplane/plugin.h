/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The public door of the core: what a plugin sees. A plugin is a shared object NAME.so in the
 * plugin directory that exports one `const struct plugin` under the symbol `tailplane_plugin`. The
 * configuration names the plugins to load; `needs` gives the order. Graph nodes live in a second
 * object NAME-node.so (see node.h), loaded only when the data plane is.
 *
 * Every hook runs on the control loop and may not block. Life:
 *
 *   load -> init -> start -> (check -> apply)* -> stop -> fini
 *
 * init/fini and start/stop are mirrored; fini and stop run in reverse order of needs. A hook that
 * fails leaves nothing behind: stop is not called after a failed start, nor fini after a failed
 * init.
 */
#include <stdint.h>

#include "err.h"
#include "jobs.h"
#include "log.h"
#include "loop.h"
#include "metrics.h"
#include "net.h"
#include "op.h"
#include "settings.h"
#include "snapshot.h"
#include "state.h"

#pragma GCC visibility push(default)

#define TAILPLANE_ABI 1

enum plugin_reload {
	PLUGIN_ABSORB,  /* apply(new) takes it in without interruption */
	PLUGIN_RESTART, /* stop and start this plugin (and those that need it) with new settings */
	PLUGIN_REFUSE,  /* not while running; the reason names what to do */
};

struct plugin {
	uint32_t abi;     /* TAILPLANE_ABI */
	uint32_t size;    /* sizeof(struct plugin) */
	const char *name; /* also the name of its group in the configuration */
	const char *version;
	const char *summary;      /* one line */
	const char *const *needs; /* names, NULL-terminated; NULL: none */

	const struct setting *settings; /* NULL: takes none */
	size_t settings_size;
	const struct op *ops; /* NULL: none; valid between start and stop */

	/* Linux capabilities (bits 1ULL << CAP_*) that must survive the drop of privileges */
	uint64_t caps;

	/* Checks between fields, and with those of other groups (setting_of); no effects. NULL: all
	 * is fine. */
	void (*validate)(const void *conf, struct setting_errors *errs);
	/* As root, before privileges drop and before the loop runs. NULL: nothing. */
	int (*init)(const void *conf, struct err *err);
	void (*fini)(void);
	/* `conf` stays valid until the end of stop, or of the apply that replaces it. */
	int (*start)(const void *conf, struct err *err);
	void (*stop)(void);
	/* Reload, first step, no effects. Also asked when the settings are the same: files that
	 * they name may have changed. NULL: PLUGIN_RESTART when the settings differ. */
	enum plugin_reload (*check)(const void *running, const void *next, struct err *err);
	/* Reload, second step, may not fail. NULL only when check never absorbs. */
	void (*apply)(const void *next);
	/* One scrape. NULL: no metrics. */
	void (*collect)(struct metric_sink *sink);
	/* Adds fields to `tailplane status`; `status` is the object of this plugin. NULL: none. */
	void (*status)(json_t *status);
	/* A successor serves whoever comes from now on (see handover.h): gives it what it needs of
	 * this process, ends bit by bit what there is, then calls `done` on the control loop; stop
	 * follows, or comes before. NULL: the plugin cannot be in two processes, and there is no
	 * successor. */
	void (*hand_over)(void (*done)(void));
};

/*
 * Services between plugins: the side that needs one declares a small struct of function pointers,
 * the other provides it by name. core_service answers NULL when nobody does; the needing side has a
 * default for that. Provide in start, withdraw (NULL) in stop.
 */
void core_provide(const char *name, const void *ops);
const void *core_service(const char *name);
/* The side that needs one is told, within core_provide, that it came, went or is another's now. One
 * for each name; NULL ends it. */
void core_watch_service(const char *name, void (*changed)(void));

/* For each loaded plugin, in order of needs: its name and the folder that it came from. */
void core_each_plugin(void (*fn)(void *arg, const char *name, const char *dir), void *arg);
/* Asks the daemon to stop in order, as SIGTERM does. */
void core_shutdown(void);

#pragma GCC visibility pop
