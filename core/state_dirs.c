/* SPDX-License-Identifier: BSD-3-Clause */
/* The directories of the daemon: made, owned, locked. Runs on: the control loop, before it runs;
 * state_hand_over on jobs too. */
#include "state_dirs.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "state_owner.h"

#define WALK_DEPTH_FDS 8

/* Written once, before other threads exist. */
static char state_dir[PATH_MAX], runtime_dir[PATH_MAX];
static uid_t owner = (uid_t)-1;
static gid_t owner_group = (gid_t)-1;
static int lock = -1;

const char *core_state_dir(void)
{
	return state_dir;
}

const char *core_runtime_dir(void)
{
	return runtime_dir;
}

static void copy_dir(char out[static PATH_MAX], const char *dir)
{
	size_t len = strlen(dir);

	while (len > 1 && dir[len - 1] == '/')
		len--;
	snprintf(out, PATH_MAX, "%.*s", (int)len, dir);
}

void state_dirs_set(const char *state, const char *runtime, uid_t uid, gid_t gid)
{
	copy_dir(state_dir, state);
	copy_dir(runtime_dir, runtime);
	owner = uid;
	owner_group = gid;
}

int state_hand_over(int fd, const char *path)
{
	int rc;

	if (owner == (uid_t)-1 || geteuid() != 0)
		return 0;
	rc = path ? fchownat(fd, path, owner, owner_group, AT_SYMLINK_NOFOLLOW)
		  : fchown(fd, owner, owner_group);
	return rc == 0 ? 0 : -errno;
}

static int hand_over_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)type, (void)at;
	if (st->st_uid == owner)
		return 0;
	return -state_hand_over(AT_FDCWD, path);
}

/*
 * A first start with `user = "root"` leaves root's files behind. Only a tree whose top is root's is
 * handed over: in one that is the user's already, that user could swap what the walk meets.
 */
static int hand_over_tree(struct err *err)
{
	struct stat st;
	int rc;

	if (geteuid() != 0 || stat(state_dir, &st) != 0)
		return 0;
	if (owner == (uid_t)-1) {
		/* root stays root, and its files go to whom the directory belongs */
		owner = st.st_uid;
		owner_group = st.st_gid;
	}
	if (st.st_uid == owner)
		return 0;
	if (st.st_uid != 0)
		return err_set(err, -EPERM,
			"the state directory %s belongs to user %u, the daemon runs as %u: "
			"chown -R %u %s",
			state_dir, st.st_uid, owner, owner, state_dir);
	rc = nftw(state_dir, hand_over_entry, WALK_DEPTH_FDS, FTW_PHYS | FTW_MOUNT);
	if (rc)
		return err_set(err, rc > 0 ? -rc : -errno, "cannot give %s to user %u: %s",
			state_dir, owner, strerror(rc > 0 ? rc : errno));
	return 0;
}

/* Parents are made too, open to all, as `mkdir -p` does. */
static int make_dir(char *dir, mode_t mode, const char *setting, struct err *err)
{
	struct stat st;

	for (char *slash = strchr(dir + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(dir, 0755) != 0 && errno != EEXIST) {
			err_set(err, -errno, "cannot make %s: %s (setting %s)", dir,
				strerror(errno), setting);
			*slash = '/';
			return -EIO;
		}
		*slash = '/';
	}
	if (mkdir(dir, mode) != 0 && errno != EEXIST)
		return err_set(err, -errno, "cannot make %s: %s (setting %s)", dir, strerror(errno),
			setting);
	if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode))
		return err_set(err, -ENOTDIR, "%s is not a directory (setting %s)", dir, setting);
	if (access(dir, W_OK | X_OK) != 0)
		return err_set(err, -errno, "cannot write to %s: %s (setting %s)", dir,
			strerror(errno), setting);
	return 0;
}

int state_dirs_make(struct err *err)
{
	int rc = make_dir(state_dir, 0700, "core.state_dir", err);

	if (!rc)
		rc = make_dir(runtime_dir, 0750, "core.runtime_dir", err);
	if (!rc)
		rc = hand_over_tree(err);
	if (!rc) {
		rc = state_hand_over(AT_FDCWD, runtime_dir);
		if (rc)
			err_set(err, rc, "cannot give %s to user %u: %s", runtime_dir, owner,
				strerror(-rc));
	}
	return rc;
}

static int refuse_locked(int fd, struct err *err)
{
	char holder[16] = "";
	ssize_t n = read(fd, holder, sizeof(holder) - 1);

	close(fd);
	if (n > 0)
		holder[strcspn(holder, "\n")] = '\0';
	return err_set(err, -EBUSY,
		"the state directory %s is in use by process %s: stop that one, or give this one "
		"its own core.state_dir and core.runtime_dir",
		state_dir, *holder ? holder : "(unknown)");
}

static int lock_open(int *fd, struct err *err)
{
	char *path = state_path("lock");
	int rc = 0;

	*fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*fd < 0)
		rc = err_set(err, -errno, "cannot open %s: %s", path, strerror(errno));
	free(path);
	return rc;
}

static bool same_file(int a, int b)
{
	struct stat one, other;

	return fstat(a, &one) == 0 && fstat(b, &other) == 0 && one.st_dev == other.st_dev &&
	       one.st_ino == other.st_ino;
}

int state_dirs_sign(struct err *err)
{
	char pid[16];
	int n = snprintf(pid, sizeof(pid), "%d\n", getpid());

	if (ftruncate(lock, 0) != 0 || pwrite(lock, pid, (size_t)n, 0) != n ||
		state_hand_over(lock, NULL))
		return err_set(
			err, -EIO, "cannot write the lock of %s: %s", state_dir, strerror(errno));
	return 0;
}

/* The lock is the descriptor, which stays open; who shares it has it too. */
int state_dirs_lock(int shared, struct err *err)
{
	int fd, rc = lock_open(&fd, err);

	if (rc)
		return rc;
	if (shared >= 0 && same_file(shared, fd)) {
		close(fd);
		lock = shared;
		return 0;
	}
	if (shared >= 0)
		close(shared);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		return refuse_locked(fd, err);
	lock = fd;
	return state_dirs_sign(err);
}

int state_dirs_lock_fd(void)
{
	return lock;
}
