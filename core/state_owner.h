/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Gives what root made to the daemon's own user: the file `fd`, or `path` relative to `fd` without
 * following a link. Does nothing when there is no such user or we are not root. 0 or -errno. */
int state_hand_over(int fd, const char *path);
