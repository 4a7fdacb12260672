/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A restart without a gap. A new process of the same command is started and finds our listening
 * sockets, the control socket, the lock of the state directory and a socket to us as descriptors
 * from 3 on. Until its plugins have started it accepts nobody, and we serve as ever; when it fails
 * nothing has happened. Then it says so on that socket, and we leave: we accept nobody any more,
 * tell the service manager whose the service is now, let the plugins give it what it needs of us
 * (handover.c), at which it accepts, and end what they have bit by bit, and stop. The state
 * directory is in both processes' hands meanwhile; so only plugins that bear this have a successor
 * (hand_over), and the store's are not among them: a store has one owner.
 *
 * Rejected: the new process as parent or a supervisor above both (one process more, which would
 * itself have to be restarted); connections that move over (a TLS session's keys would have to).
 *
 * Runs on: the control loop.
 */
#include "successor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tailplane/log.h>
#include <tailplane/loop.h>
#include <tailplane/op.h>
#include <tailplane/plugin.h>

#include "ctl.h"
#include "front_life.h"
#include "handover_life.h"
#include "inherit.h"
#include "notify.h"
#include "plugins.h"
#include "state_dirs.h"

#define START_WITHIN 60.  /* seconds */
#define LOOK_EVERY 0.1    /* whether all is over */
#define SERVE_AT_MOST 30. /* seconds that requests under way may take when all else is over */

extern char **environ;

static struct {
	char *const *argv;
	pid_t starter; /* our child, whose child the successor is: it ends at once; 0: it has */
	ev_io starter_ends;
	pid_t pid; /* 0: it has not told */
	bool started;
	struct op_call *call;
	ev_io talk;
	ev_timer late, look;
	bool serves;
	unsigned plugins; /* that are not done */
	double waited;    /* for requests under way */
} successor;

void successor_init(char *const argv[])
{
	successor.argv = argv;
}

bool successor_is_under_way(void)
{
	return successor.started;
}

bool successor_serves(void)
{
	return successor.serves;
}

/* ---- the answer ---- */

static void asker_gone(void *arg)
{
	(void)arg;
	successor.call = NULL;
}

static void answer_failed(const char *why)
{
	log_warnx("no new process takes over: %s", why);
	if (successor.call)
		op_fail(successor.call, "%s", why);
	successor.call = NULL;
}

static void answer_serves(void)
{
	if (successor.call)
		op_reply(successor.call, json_pack("{s:i}", "pid", (int)successor.pid));
	successor.call = NULL;
}

/* ---- leaving ---- */

static void plugin_done(void)
{
	successor.plugins--;
}

LOOP_CALLBACK(successor_look, ev_timer)
{
	(void)loop, (void)watcher, (void)revents;
	if (successor.plugins)
		return;
	if (front_is_busy() && successor.waited < SERVE_AT_MOST) {
		successor.waited += LOOK_EVERY;
		return;
	}
	ev_timer_stop(core_loop(), &successor.look);
	core_shutdown();
}

static void leave(void)
{
	const struct configuration *active = plugins_active();

	successor.serves = true;
	log_info("process %d has taken over; this one ends the connections that it has",
		successor.pid);
	notify_watchdog_stop();
	notify_main(successor.pid);
	ctl_leave();
	front_leave();
	handover_begin(successor.talk.fd);
	for (size_t i = 0; i < active->n; i++) {
		if (active->plugins[i]->state != STATE_UP)
			continue;
		successor.plugins++;
		active->plugins[i]->plugin->hand_over(plugin_done);
	}
	handover_end();
	ev_timer_init(&successor.look, successor_look, 0., LOOK_EVERY);
	ev_timer_start(core_loop(), &successor.look);
}

/* ---- waiting for it ---- */

static void stop_waiting(void)
{
	ev_io_stop(core_loop(), &successor.talk);
	ev_timer_stop(core_loop(), &successor.late);
}

LOOP_CALLBACK(successor_starter_ends, ev_io)
{
	(void)revents;
	if (waitpid(successor.starter, NULL, WNOHANG) == 0)
		return;
	ev_io_stop(loop, watcher);
	close(watcher->fd);
	successor.starter = 0;
}

/* One that does not know us any more ends by itself. */
static void give_up(const char *why)
{
	stop_waiting();
	close(successor.talk.fd);
	if (successor.starter)
		kill(successor.starter, SIGKILL);
	if (successor.pid)
		kill(successor.pid, SIGKILL);
	successor.pid = 0;
	successor.started = false;
	answer_failed(why);
}

/* Its number as soon as it has one, and again when it serves. */
LOOP_CALLBACK(successor_talks, ev_io)
{
	pid_t pid;

	(void)loop, (void)revents;
	if (read(watcher->fd, &pid, sizeof(pid)) != sizeof(pid)) {
		give_up("it could not start; its log says why");
		return;
	}
	if (!successor.pid) {
		successor.pid = pid;
		return;
	}
	stop_waiting();
	leave();
	close(watcher->fd);
	answer_serves();
}

LOOP_CALLBACK(successor_late, ev_timer)
{
	(void)loop, (void)watcher, (void)revents;
	give_up("it did not start in time");
}

void successor_cancel(void)
{
	if (successor.started && !successor.serves)
		give_up("the daemon is stopping");
}

/* ---- starting it ---- */

static bool passes(const char *variable)
{
	return strncmp(variable, "WATCHDOG_PID=", 13) != 0;
}

/* Ours, with the word that there is something to take over. NULL: no memory. */
static char **environment(char *word)
{
	size_t n = 0, at = 0;
	char **copy;

	while (environ[n])
		n++;
	copy = calloc(n + 2, sizeof(*copy));
	for (size_t i = 0; copy && i < n; i++)
		if (passes(environ[i]))
			copy[at++] = environ[i];
	if (copy)
		copy[at] = word;
	return copy;
}

/* The descriptors in their order, as copies above all the places that they shall have: one that is
 * moved must not close one that is still to be. */
static int arrange(posix_spawn_file_actions_t *actions, const int *fds, size_t n, int *copies)
{
	int above = INHERIT_FIRST + (int)n;

	for (size_t i = 0; i < n; i++) {
		copies[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, above);
		if (copies[i] < 0)
			return -errno;
		if (posix_spawn_file_actions_adddup2(actions, copies[i], INHERIT_FIRST + (int)i))
			return -ENOMEM;
	}
	return 0;
}

static int spawn(const int *fds, size_t n)
{
	char word[sizeof(INHERIT_VARIABLE) + 24];
	posix_spawn_file_actions_t actions;
	int *copies = malloc(n * sizeof(*copies));
	char **env = environment(word);
	int rc = copies && env ? posix_spawn_file_actions_init(&actions) : ENOMEM;

	snprintf(word, sizeof(word), INHERIT_VARIABLE "=%zu", n - INHERIT_SPECIALS);
	if (!rc) {
		memset(copies, 0xff, n * sizeof(*copies));
		rc = -arrange(&actions, fds, n, copies);
		if (!rc)
			rc = posix_spawnp(&successor.starter, successor.argv[0], &actions, NULL,
				successor.argv, env);
		posix_spawn_file_actions_destroy(&actions);
		for (size_t i = 0; i < n; i++)
			if (copies[i] >= 0)
				close(copies[i]);
	}
	free(copies);
	free(env);
	return -rc;
}

static int spawn_with(int talk)
{
	size_t n_kept;
	const int *kept = inherit_kept(&n_kept);
	int *fds = malloc((INHERIT_SPECIALS + n_kept) * sizeof(*fds)), rc;

	if (!fds)
		return -ENOMEM;
	fds[INHERIT_LOCK] = state_dirs_lock_fd();
	fds[INHERIT_CTL] = ctl_fd();
	fds[INHERIT_TALK] = talk;
	memcpy(fds + INHERIT_SPECIALS, kept, n_kept * sizeof(*fds));
	rc = spawn(fds, INHERIT_SPECIALS + n_kept);
	free(fds);
	return rc;
}

static const char *who_cannot(void)
{
	const struct configuration *active = plugins_active();

	for (size_t i = 0; i < active->n; i++)
		if (active->plugins[i]->state == STATE_UP && !active->plugins[i]->plugin->hand_over)
			return active->plugins[i]->plugin->name;
	return NULL;
}

static void watch_starter(int pidfd)
{
	ev_io_init(&successor.starter_ends, successor_starter_ends, pidfd, EV_READ);
	ev_io_start(core_loop(), &successor.starter_ends);
}

static int start(void)
{
	int talk[2], pidfd = -1, rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, talk) != 0)
		return -errno;
	rc = spawn_with(talk[1]);
	close(talk[1]);
	if (!rc) {
		pidfd = pidfd_open(successor.starter, 0);
		rc = pidfd < 0 ? -errno : 0;
	}
	if (rc) { /* a process that has nobody to talk to ends */
		successor.starter = 0;
		close(talk[0]);
		return rc;
	}
	watch_starter(pidfd);
	ev_io_init(&successor.talk, successor_talks, talk[0], EV_READ);
	ev_io_start(core_loop(), &successor.talk);
	ev_timer_init(&successor.late, successor_late, START_WITHIN, 0.);
	ev_timer_start(core_loop(), &successor.late);
	successor.started = true;
	return 0;
}

void successor_start(struct op_call *call)
{
	const char *plugin = who_cannot();
	char why[256];
	int rc;

	if (successor.started || successor.starter) {
		if (call)
			op_fail(call, successor.started ? "a process is taking over already"
							: "the last try is still ending");
		return;
	}
	successor.call = call;
	if (call)
		op_on_close(call, asker_gone, NULL);
	if (plugin) {
		snprintf(why, sizeof(why),
			"plugin %s cannot be in two processes at a time: stop the daemon and start "
			"it, as `systemctl restart tailplaned` does",
			plugin);
		answer_failed(why);
		return;
	}
	rc = start();
	if (rc) {
		snprintf(why, sizeof(why), "cannot start %s: %s", successor.argv[0], strerror(-rc));
		answer_failed(why);
	}
}

/* ---- being it ---- */

static int talk = -1;

static int tell_number(void)
{
	pid_t pid = getpid();

	return write(talk, &pid, sizeof(pid)) == sizeof(pid) ? 0 : -EPIPE;
}

void successor_begin(void)
{
	talk = inherit_special(INHERIT_TALK);
	if (talk < 0)
		return;
	signal(SIGPIPE, SIG_IGN);
	switch (fork()) {
	case 0:
		if (tell_number() == 0)
			return;
		/* fallthrough */
	default:
		_exit(1);
	}
}

int successor_report(struct err *err)
{
	int rc;

	if (talk < 0)
		return 0;
	rc = state_dirs_sign(err);
	if (!rc && tell_number() != 0)
		rc = err_set(err, -EPIPE, "the process that we were to take over from has ended");
	if (!rc)
		handover_await(talk);
	close(talk);
	talk = -1;
	return rc;
}
