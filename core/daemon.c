/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon as a whole, as its operations and signals see it. Runs on: the control loop. */
#include "daemon.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/plugin.h>

#include "log_thread.h"
#include "notify.h"
#include "plugins.h"
#include "successor.h"

static const char *path;
static uint64_t since;
static bool stopping;

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

static void log_lines(const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");

		log_warnx("  %.*s", (int)len, text);
		text += len + (text[len] == '\n');
	}
}

int daemon_reload(char **summary, char **errors)
{
	int before = plugins_active()->core->log_level, rc;

	if (successor_is_under_way()) {
		*errors = strdup("another process is taking over\n");
		return -EBUSY;
	}
	notify_reloading();
	rc = plugins_reload(path, summary, errors);
	if (rc) {
		log_warnx("the configuration was not changed:");
		log_lines(*errors);
	} else {
		log_info("reloaded: %s", *summary);
		if (plugins_active()->core->log_level != before)
			daemon_set_log_level(plugins_active()->core->log_level);
	}
	notify_ready();
	return rc;
}

int daemon_check(char **errors)
{
	size_t len;
	FILE *out = open_memstream(errors, &len);
	struct configuration *next;

	if (!out)
		abort();
	next = configuration_read(path, out);
	configuration_put(next);
	fclose(out);
	return next ? 0 : -EINVAL;
}

/* A start hook may ask too, before there is a loop to break. */
void core_shutdown(void)
{
	stopping = true;
	ev_break(core_loop(), EVBREAK_ALL);
}

bool daemon_is_stopping(void)
{
	return stopping;
}
