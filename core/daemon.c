/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon as a whole, as its operations and signals see it. Runs on: the control loop. */
#include "daemon.h"

#include <tailplane/plugin.h>

#include "log_thread.h"
#include "notify.h"
#include "plugins.h"

static const char *path;
static uint64_t since;

void daemon_init(const char *configuration_path)
{
	path = configuration_path;
	since = core_now();
}

unsigned long long daemon_since(void)
{
	return since;
}

void daemon_set_log_level(int level)
{
	log_level_set((enum log_level)level);
}

int daemon_reload(char **summary, char **errors)
{
	int before = plugins_active()->core->log_level, rc;

	notify_reloading();
	rc = plugins_reload(path, summary, errors);
	if (!rc && plugins_active()->core->log_level != before)
		daemon_set_log_level(plugins_active()->core->log_level);
	notify_ready();
	return rc;
}

void core_shutdown(void)
{
	ev_break(core_loop(), EVBREAK_ALL);
}
