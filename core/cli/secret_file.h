/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>

#include <tailplane/err.h>

/* The content of a file that holds a secret, without the line ends after it ("-": stdin). A file
 * that others than its owner can read is refused. NULL with a reason. */
json_t *secret_file_read(const char *path, struct err *err);
/*
 * Writes `text` and a line end to a new file of mode 0600; root gives it to the daemon's user. A
 * file is never replaced: one with the same content is left, another is -EEXIST.
 */
int secret_file_write(const char *path, const char *text, struct err *err);

/* The whole of `path` ("-": stdin), at most `limit` bytes, NUL-terminated; *len without the NUL.
 * Zero it with secret_file_release. NULL with a reason. */
char *file_read(const char *path, size_t limit, size_t *len, struct err *err);
void secret_file_release(char *text, size_t len);
