/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Asks a URL who may use the relay, as derper's --verify-client-url does: POST of the node key and
 * the client's address, {"Allow":true} for yes. Control loop; at most so many calls at a time, the
 * others wait their turn.
 */
#include <tailplane/err.h>
#include <tailplane/net.h>

#include "secret.h"

enum verdict { VERDICT_NO, VERDICT_YES, VERDICT_NOBODY /* nobody answered */ };

struct url_call;

int verify_url_start(struct err *err);
/* Cancels all. */
void verify_url_stop(void);
/* `done` on the loop, never before this returns; the call is gone then. NULL: too many wait. */
struct url_call *verify_url_ask(const char *url, const struct public_key *key,
	const struct net_addr *from, void (*done)(void *arg, enum verdict verdict), void *arg);
