/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Who may use the relay. The server asks for each client that has proven its key (mesh peers are
 * not asked for); whoever decides may take time. A client that is waited for is closed after the
 * handshake's ten seconds, so an answer that never comes is a no.
 */
#include <stdbool.h>

#include <tailplane/net.h>

#include "secret.h"

/* One client that waits; of whoever was asked, until derp_answer. */
struct derp_question;

struct derp_admission {
	/* On the client's I/O loop; may answer before it returns. All but `question` is valid
	 * during the call only. */
	void (*ask)(void *user, const struct public_key *client, const struct net_addr *from,
		struct derp_question *question);
	void *user;
};

/* Any thread, exactly once for each question, also after the client has gone, and before
 * derp_server_stop returns: the server's stop hook waits for messages, not for questions, so who is
 * asked answers what is open first (with "no"). */
void derp_answer(struct derp_question *question, bool allowed);
