/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

struct stat;

#pragma GCC visibility push(default)

/* Directories, absolute, without a slash at the end; valid from `init` on. */
const char *core_state_dir(void);   /* /var/lib/tailplane: kept over restarts */
const char *core_runtime_dir(void); /* /run/tailplane: sockets */

/* `path`, if relative, inside the state directory. Heap. */
char *state_path(const char *path);

/*
 * Reads a file that holds a secret (whole, at most `size` bytes). Refuses one that others than its
 * owner can read, with the chmod line to type. Returns the length or -errno.
 */
ssize_t state_read_secret(const char *path, void *buf, size_t size, struct err *err);
ssize_t state_read(const char *path, void *buf, size_t size, struct err *err);
/* Whether nothing was done to a file between two looks at it: neither to its bytes nor to who may
 * read them. Of two versions of one second and one length, too, which ev_stat does not tell. */
bool state_file_same(const struct stat *a, const struct stat *b);
/* Writes a new file beside, fsyncs, renames over: a reader sees the old or the new, never half.
 * Blocking: before the loop runs, or from a job. `mode` 0600 for secrets. */
int state_write(const char *path, const void *buf, size_t len, mode_t mode, struct err *err);
/* The same through a job; `done` on the loop. The bytes are copied (and zeroed after). Writes to
 * one path keep their order. */
void state_write_later(const char *path, const void *buf, size_t len, mode_t mode,
	void (*done)(void *arg, int error, const struct err *err), void *arg);

#pragma GCC visibility pop
