/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Neither this process nor a program that it starts gains a privilege from now on. Before the first
 * thread: each inherits it. */
void privileges_gain_none(void);
/* Whom the daemon becomes; (uid_t)-1: it stays who it is. Ends the process with the line to type
 * when there is no such user. */
void privileges_find_user(const char *user, uid_t *uid, gid_t *gid);
/* (uid_t)-1: does nothing. Else becomes that user for good, with those capabilities (1ULL << CAP_*)
 * and no way to get more. */
void privileges_drop(const char *user, uid_t uid, gid_t gid, uint64_t caps);
/* No core dumps, unless wanted: packets and settings would be in them. */
void privileges_coredumps(bool wanted);
/* As many open files as this user may have: each client is one. */
void privileges_descriptors(void);

/* The capabilities that this process can use. */
uint64_t privileges_held(void);
/* The name of the lowest one in a set that is not empty: "CAP_NET_ADMIN". */
const char *privileges_name(uint64_t caps);
