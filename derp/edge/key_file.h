/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <tailplane/err.h>

#include "secret.h"

/* The relay's key from its file, made when there is none: "privkey:" and 64 hex digits, or derper's
 * JSON around that. Blocking: in start. */
int derp_key_load(struct private_key *key, const char *path, struct err *err);
