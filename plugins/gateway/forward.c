/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Forwarding: IP forwarding in the kernel and one masquerade rule for the pools, both taken back at
 * stop. What the switches were before is kept in the state directory, so that a run which was
 * killed is taken back by the next one. `nft` is a program of its own (its library is GPL), run in
 * a job with the one capability that it needs. Control loop, except the functions named _run.
 */
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway.h"

#define TABLE "tailplane_gateway"

static const char *const switches[] = {
	"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"};
#define N_SWITCHES (sizeof(switches) / sizeof(switches[0]))

struct nft_job {
	struct job job;
	char *script;
	int status; /* 0, or what went wrong */
	bool quiet;
};

static bool on;
static char before[N_SWITCHES];

/* ---- nft ------------------------------------------------------------------------------------- */

/* Capabilities are a thread's own: only what this thread starts inherits it. */
static void nft_capability_run(void)
{
	capng_get_caps_process();
	capng_update(CAPNG_ADD, CAPNG_INHERITABLE, CAP_NET_ADMIN);
	capng_apply(CAPNG_SELECT_CAPS);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0);
}

static int nft_wait_run(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return errno;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : EIO;
}

static void nft_run(struct job *job)
{
	struct nft_job *j = (struct nft_job *)job;
	char name[] = "nft", from[] = "-f", stdin_name[] = "-", path[] = "PATH=/usr/sbin:/usr/bin";
	char *const argv[] = {name, from, stdin_name, NULL}, *const env[] = {path, NULL};
	posix_spawn_file_actions_t actions;
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC)) {
		j->status = errno;
		return;
	}
	nft_capability_run();
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fds[0], 0);
	if (j->quiet)
		posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	j->status = posix_spawn(&pid, "/usr/sbin/nft", &actions, NULL, argv, env);
	posix_spawn_file_actions_destroy(&actions);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	close(fds[0]);
	/* a script is far smaller than a pipe: this does not wait for nft */
	if (!j->status && write(fds[1], j->script, strlen(j->script)) < 0)
		j->status = errno;
	close(fds[1]);
	if (!j->status)
		j->status = nft_wait_run(pid);
}

static void nft_done(struct job *job)
{
	struct nft_job *j = (struct nft_job *)job;

	if (j->status && !j->quiet)
		log_warnx("forwarding: nft could not set up masquerading: %s%s",
			strerror(j->status),
			j->status == ENOENT ? "; install the package nftables" : "");
	free(j->script);
	free(j);
}

/* Takes the script. Scripts run in order. */
static void nft_submit(char *script, bool quiet)
{
	struct nft_job *j = script ? calloc(1, sizeof(*j)) : NULL;

	if (!j) {
		free(script);
		return;
	}
	j->job.run = nft_run;
	j->job.done = nft_done;
	j->job.name = "nft";
	j->job.lane = (uint64_t)(uintptr_t)&on;
	j->script = script;
	j->quiet = quiet;
	job_submit(&j->job);
}

static char *masquerade_script(const char *interface, const struct gateway_state *state)
{
	char pool4[NET_PREFIX_STRLEN], pool6[NET_PREFIX_STRLEN];
	struct net_prefix net4 = net_prefix_masked(&state->pool4),
			  net6 = net_prefix_masked(&state->pool6);
	char *script = NULL;

	if (asprintf(&script,
		    "add table inet " TABLE "\n"
		    "delete table inet " TABLE "\n"
		    "table inet " TABLE " {\n"
		    " set pool4 { type ipv4_addr; flags interval; elements = { %s } }\n"
		    " set pool6 { type ipv6_addr; flags interval; elements = { %s } }\n"
		    " chain postrouting {\n"
		    "  type nat hook postrouting priority srcnat;\n"
		    "  oifname != \"%s\" ip saddr @pool4 masquerade\n"
		    "  oifname != \"%s\" ip6 saddr @pool6 masquerade\n"
		    " }\n}\n",
		    net_prefix_format(&net4, pool4), net_prefix_format(&net6, pool6), interface,
		    interface) < 0)
		return NULL;
	return script;
}

/* ---- the kernel's switches ------------------------------------------------------------------- */

static bool switch_read(unsigned i, char *value)
{
	int fd = open(switches[i], O_RDONLY | O_CLOEXEC);
	bool ok = fd >= 0 && read(fd, value, 1) == 1;

	if (fd >= 0)
		close(fd);
	return ok;
}

static bool switch_write(unsigned i, char value)
{
	int fd = open(switches[i], O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, &value, 1) == 1;

	if (fd >= 0)
		close(fd);
	return ok;
}

static void switches_restore(const char values[N_SWITCHES])
{
	for (unsigned i = 0; i < N_SWITCHES; i++)
		if (values[i] == '0' && !switch_write(i, '0'))
			log_warn("cannot take back %s", switches[i]);
}

static void kept(void *arg, int error, const struct err *err)
{
	(void)arg;
	if (error)
		log_warnx("forwarding could not be noted for a run after a crash: %s", err->msg);
}

static void note_write(const char values[N_SWITCHES], size_t len)
{
	char *path = state_path("gateway.forward");

	if (path)
		state_write_later(path, values, len, 0600, kept, NULL);
	free(path);
}

/* A run that was killed left the switches on and the rule in place. */
static void leftovers_take_back(void)
{
	char *path = state_path("gateway.forward"), values[N_SWITCHES];
	struct err err = {0};

	if (path && state_read(path, values, sizeof(values), &err) == (ssize_t)sizeof(values)) {
		switches_restore(values);
		nft_submit(strdup("delete table inet " TABLE "\n"), true);
		note_write(values, 0);
	}
	free(path);
}

void forward_start(bool wanted, const char *interface, const struct gateway_state *state)
{
	leftovers_take_back();
	if (!wanted)
		return;
	for (unsigned i = 0; i < N_SWITCHES; i++)
		if (!switch_read(i, &before[i]))
			before[i] = '1'; /* no such switch: nothing to take back */
	note_write(before, sizeof(before));
	for (unsigned i = 0; i < N_SWITCHES; i++)
		if (before[i] == '0' && !switch_write(i, '1'))
			log_warn("forwarding: cannot turn on %s", switches[i]);
	nft_submit(masquerade_script(interface, state), false);
	on = true;
	log_info("forwarding is on: clients reach what this machine reaches");
}

void forward_stop(void)
{
	if (!on)
		return;
	on = false;
	switches_restore(before);
	nft_submit(strdup("delete table inet " TABLE "\n"), false);
	note_write(before, 0);
	jobs_drain();
}
