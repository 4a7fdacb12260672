/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From root to a user of our own. Runs on: the control loop, before it runs; privileges_held also
 * later.
 *
 * Capabilities belong to threads, and those of a thread that exists when the user changes are gone:
 * right for the log's. What needs them, the pool of jobs and the workers, starts after the drop and
 * inherits what is left here.
 */
#include "privileges.h"

#include <cap-ng.h>
#include <ctype.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <tailplane/log.h>

#define DESCRIPTORS_WANTED 262144

void privileges_gain_none(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		fatal("cannot give up new privileges");
}

void privileges_find_user(const char *user, uid_t *uid, gid_t *gid)
{
	const struct passwd *entry;

	*uid = (uid_t)-1;
	*gid = (gid_t)-1;
	if (geteuid() != 0 || strcmp(user, "root") == 0)
		return;
	entry = getpwnam(user);
	if (!entry)
		fatalx("there is no user \"%s\" (setting core.user) to become; type: "
		       "useradd --system --user-group --no-create-home --shell /usr/sbin/nologin "
		       "%s",
			user, user);
	*uid = entry->pw_uid;
	*gid = entry->pw_gid;
}

static void select_caps(uint64_t caps)
{
	capng_clear(CAPNG_SELECT_ALL);
	for (unsigned cap = 0; cap < 64; cap++) {
		if (caps >> cap & 1)
			capng_update(CAPNG_ADD,
				CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, cap);
	}
}

void privileges_drop(const char *user, uid_t uid, gid_t gid, uint64_t caps)
{
	uint64_t held = privileges_held(), lacking = caps & ~held;
	int rc;

	if (uid == (uid_t)-1) {
		if (geteuid() != 0)
			log_info("not started as root: goes on as user %u, with what that may",
				geteuid());
		return;
	}
	if (lacking)
		log_warnx("the capability %s is not ours to keep: expect errors",
			privileges_name(lacking));
	/* libcap-ng keeps what is selected here until it applies it: nothing may ask it between */
	select_caps(caps & ~lacking);
	/* The bounding set needs a capability of its own, which a container may not give. What is
	 * kept stays in it: a program that we start (nft) can inherit no more than that. */
	if (held >> CAP_SETPCAP & 1)
		capng_apply(CAPNG_SELECT_BOUNDS);
	rc = capng_change_id((int)uid, (int)gid, CAPNG_INIT_SUPP_GRP);
	if (rc)
		fatalx("cannot become user \"%s\" (setting core.user; libcap-ng says %d); with "
		       "\"root\" the daemon stays root",
			user, rc);
	log_debug("became user %s (%u) with capabilities %#llx", user, uid,
		(unsigned long long)privileges_held());
}

void privileges_coredumps(bool wanted)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_CORE, &limit) != 0)
		return;
	limit.rlim_cur = wanted ? limit.rlim_max : 0;
	if (setrlimit(RLIMIT_CORE, &limit) != 0)
		log_warn("cannot set the limit of core dumps");
	/* a change of user has cleared it */
	if (wanted && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0)
		log_warn("cannot allow core dumps");
}

void privileges_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < DESCRIPTORS_WANTED) {
		struct rlimit more = {DESCRIPTORS_WANTED, DESCRIPTORS_WANTED};

		if (setrlimit(RLIMIT_NOFILE, &more) == 0)
			return;
	}
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		log_warn("cannot raise the limit of open files");
}

uint64_t privileges_held(void)
{
	uint64_t held = 0;

	capng_clear(CAPNG_SELECT_ALL);
	if (capng_get_caps_process() != 0)
		return 0;
	for (unsigned cap = 0; cap < 64; cap++) {
		if (capng_have_capability(CAPNG_PERMITTED, cap) == 1)
			held |= 1ull << cap;
	}
	return held;
}

const char *privileges_name(uint64_t caps)
{
	static char name[64];
	unsigned cap = (unsigned)__builtin_ctzll(caps);
	const char *known = capng_capability_to_name(cap);

	if (!known) {
		snprintf(name, sizeof(name), "CAP_%u", cap);
		return name;
	}
	snprintf(name, sizeof(name), "CAP_%s", known);
	for (char *c = name; *c; c++)
		*c = (char)toupper((unsigned char)*c);
	return name;
}
