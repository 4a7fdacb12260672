/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tailplaned: from the command line to the loop, and back in the mirrored order. What needs root
 * comes first (directories, init hooks), then privileges drop for good, then threads, listeners and
 * plugins start. Runs on: the control loop's thread.
 */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tailplane/plugin.h>

#include "aead.h"
#include "ctl.h"
#include "daemon.h"
#include "front_life.h"
#include "inherit.h"
#include "io_life.h"
#include "job_pool.h"
#include "log_thread.h"
#include "loop_lag.h"
#include "manual.h"
#include "manual_ops.h"
#include "notify.h"
#include "ops.h"
#include "plugins.h"
#include "privileges.h"
#include "state_dirs.h"
#include "store.h"
#include "successor.h"

struct options {
	const char *path; /* NULL: the system's file, or the embedded default */
	bool check, print, debug, manual_settings, manual_ops;
};

static struct options options;
static ev_signal on_term, on_int, on_hup, on_usr2;

/* ---- signals ---- */

static void leave_at_once(int signal_number)
{
	_exit(128 + signal_number);
}

/* A second interrupt finds no loop that would take it: it ends the process where it is. */
LOOP_CALLBACK(signal_stop, ev_signal)
{
	(void)loop, (void)revents;
	log_info("stopping (%s)", strsignal(watcher->signum));
	signal(SIGINT, leave_at_once);
	core_shutdown();
}

LOOP_CALLBACK(signal_reload, ev_signal)
{
	char *summary = NULL, *errors = NULL;

	(void)loop, (void)watcher, (void)revents;
	daemon_reload(&summary, &errors); /* has logged what came of it */
	free(summary);
	free(errors);
}

/* As those who know nginx and HAProxy expect it. */
LOOP_CALLBACK(signal_restart, ev_signal)
{
	(void)loop, (void)watcher, (void)revents;
	successor_start(NULL);
}

static void signals_start(void)
{
	signal(SIGPIPE, SIG_IGN);
	ev_signal_init(&on_term, signal_stop, SIGTERM);
	ev_signal_init(&on_int, signal_stop, SIGINT);
	ev_signal_init(&on_hup, signal_reload, SIGHUP);
	ev_signal_start(core_loop(), &on_term);
	ev_signal_start(core_loop(), &on_int);
	ev_signal_start(core_loop(), &on_hup);
	ev_signal_init(&on_usr2, signal_restart, SIGUSR2);
	ev_signal_start(core_loop(), &on_usr2);
}

/* ---- the command line ---- */

static void usage(FILE *out)
{
	fputs("usage: tailplaned [-dnvV] [-c FILE]\n"
	      "  -c FILE  the configuration; else " SYSCONF_DIR
	      "/tailplane.conf, else a built-in one\n"
	      "  -n       checks the configuration and ends\n"
	      "  -v       prints it as understood (with -n: and ends)\n"
	      "  -d       logs what is of use to developers too\n"
	      "  -V       prints the version\n",
		out);
}

static void options_read(int argc, char **argv)
{
	static const struct option longs[] = {{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'}, {"manual-settings", no_argument, NULL, 'S'},
		{"manual-ops", no_argument, NULL, 'O'}, {NULL, 0, NULL, 0}};
	int opt;

	while ((opt = getopt_long(argc, argv, "c:dhnvV", longs, NULL)) != -1) {
		switch (opt) {
		case 'c':
			options.path = optarg;
			break;
		case 'd':
			options.debug = true;
			break;
		case 'n':
			options.check = true;
			break;
		case 'v':
			options.print = true;
			break;
		case 'S':
			options.manual_settings = true;
			break;
		case 'O':
			options.manual_ops = true;
			break;
		case 'V':
			puts("tailplaned " TAILPLANE_VERSION);
			exit(0);
		case 'h':
			usage(stdout);
			exit(0);
		default:
			usage(stderr);
			exit(2);
		}
	}
	if (optind < argc) {
		fprintf(stderr, "tailplaned: \"%s\" is no option\n", argv[optind]);
		usage(stderr);
		exit(2);
	}
}

/* For the manual pages: what the core and every plugin of the plugin folders declare. */
static int manual_print(void)
{
	static const struct setting_list nowhere;

	plugin_load_all(&nowhere);
	if (options.manual_settings)
		manual_settings(stdout, "core", core_settings);
	else
		manual_ops(stdout, core_ops);
	for (const struct instance *inst = plugin_first(); inst; inst = inst->next) {
		if (options.manual_settings && inst->plugin->settings)
			manual_settings(stdout, inst->plugin->name, inst->plugin->settings);
		else if (options.manual_ops && inst->plugin->ops)
			manual_ops(stdout, inst->plugin->ops);
	}
	return ferror(stdout) ? 1 : 0;
}

/* ---- start and stop ---- */

static void aead_choose(const char *setting)
{
	const char *override = getenv("TAILPLANE_AEAD");
	bool overridden = override && *override;
	int rc = aead_init(setting);

	if (rc)
		fatalx("%s: \"%s\" %s", overridden ? "TAILPLANE_AEAD" : "core.aead",
			overridden ? override : setting,
			rc == -ENOENT ? "is no implementation" : "cannot run on this machine");
}

/* As root, where we are: afterwards nobody is. */
static void start_privileged(struct configuration *configuration)
{
	const struct core_conf *core = configuration->core;
	struct err err = {0};
	uid_t uid;
	gid_t gid;

	privileges_gain_none();
	privileges_find_user(core->user, &uid, &gid);
	state_dirs_set(core->state_dir, core->runtime_dir, uid, gid);
	if (state_dirs_make(&err) || state_dirs_lock(inherit_special(INHERIT_LOCK), &err))
		fatalx("%s", err.msg);
	aead_choose(core->aead);
	jobs_init();
	store_configure(core);
	io_init();
	privileges_descriptors();
	if (front_prepare(core, true, &err))
		fatalx("%s", err.msg);
	if (plugins_init(configuration, &err))
		fatalx("%s", err.msg);
	privileges_drop(core->user, uid, gid, plugins_caps(configuration));
	privileges_coredumps(core->coredumps);
	if (front_prepare_tls(core, &err))
		fatalx("%s", err.msg);
}

static int start_rest(const struct core_conf *core, struct err *err)
{
	int rc;

	log_thread_start();
	jobs_start((unsigned)core->jobs);
	loop_lag_start();
	io_start((unsigned)core->io_loops);
	front_start();
	front_commit();
	/* before the plugins: a second daemon ends here, and takes nothing from the first */
	rc = ctl_start(inherit_special(INHERIT_CTL), err);
	if (rc)
		return rc;
	rc = plugins_start(err);
	if (rc) {
		ctl_stop();
		return rc;
	}
	rc = successor_report(err);
	if (rc) {
		plugins_stop();
		ctl_stop();
		return rc;
	}
	front_open();
	ctl_own();
	return 0;
}

static void stop_rest(void)
{
	store_stop();
	front_stop();
	io_stop();
	loop_lag_stop();
	jobs_stop();
	plugins_fini();
	log_thread_stop();
}

static int run(struct configuration *configuration)
{
	struct err err = {0};

	start_privileged(configuration);
	configuration_put(configuration); /* held by the plugins now */
	signals_start();
	if (start_rest(plugins_active()->core, &err)) {
		log_warnx("%s", err.msg);
		stop_rest();
		return 1;
	}
	inherit_done();
	log_info("tailplaned " TAILPLANE_VERSION " is up, pid %d", getpid());
	notify_ready();
	notify_watchdog_start();
	if (!daemon_is_stopping())
		ev_run(core_loop(), 0);
	if (!successor_serves())
		notify_stopping();
	successor_cancel();
	notify_watchdog_stop();
	ctl_close_socket();
	front_leave();
	plugins_stop();
	ctl_stop();
	stop_rest();
	return 0;
}

/* Keys pass through JSON on their way to a file or a client. */
static void free_zeroed(void *p)
{
	if (p)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

int main(int argc, char **argv)
{
	struct configuration *configuration;

	inherit_init();
	successor_init(argv);
	successor_begin();
	json_set_alloc_funcs(malloc, free_zeroed);
	/* A tree of many small values is freed bit by bit into ever larger chunks, and glibc would
	 * sweep its fast bins for each: a fifth of the cost of a long list. */
	mallopt(M_MXFAST, 0);
	options_read(argc, argv);
	daemon_init(options.path);
	if (options.manual_settings || options.manual_ops)
		return manual_print();
	configuration = configuration_read(options.path, stderr);
	if (!configuration)
		return 1;
	log_level_set(
		options.debug ? LOG_LEVEL_DEBUG : (enum log_level)configuration->core->log_level);
	if (options.print)
		config_print(configuration->config, stdout);
	if (options.check) {
		configuration_put(configuration);
		return 0;
	}
	return run(configuration);
}
