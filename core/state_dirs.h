/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <sys/types.h>

#include <tailplane/state.h>

/* Where the state is, and to whom its files belong; UID -1 leaves them to whoever writes. The
 * strings are copied. */
void state_dirs_set(const char *state_dir, const char *runtime_dir, uid_t uid, gid_t gid);
/* Makes both directories and hands them, and what root left in the state directory, to that user.
 */
int state_dirs_make(struct err *err);
/* One daemon per state directory: refuses with the process that has it. Held until the end of the
 * process, however that comes. `shared`: the lock as the process before us has it, or -1; taken. */
int state_dirs_lock(int shared, struct err *err);
/* Our number goes into the lock, which we share with the process before us. */
int state_dirs_sign(struct err *err);
int state_dirs_lock_fd(void);
