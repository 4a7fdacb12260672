/* SPDX-License-Identifier: BSD-3-Clause */
/* From an empty machine to the line for the first client. Control loop. */
#include <stdio.h>

#include <tailplane/log.h>

#include "control.h"

#define FIRST_USER "default"
#define DAY_NS (86400ll * 1000000000)

static void key_made(void *arg, const struct tailnet_result *result)
{
	char text[512];

	(void)arg;
	if (result->error) {
		log_warnx("no first key: %s", result->why);
		return;
	}
	snprintf(text, sizeof(text),
		"\nThe control server runs. On each machine that shall join (the key is good for a "
		"day):\n\n"
		"  tailscale up --login-server %s --auth-key %s\n\n"
		"Next: `tailplane nodes list` shows who joined;"
		" `tailplane preauthkeys create --user %s` makes another key.\n\n",
		control.server_url, result->secret, FIRST_USER);
	log_present(text);
	secret_zero(text, sizeof(text));
}

static void user_made(void *arg, const struct tailnet_result *result)
{
	struct preauth_wish wish = {
		.user = result->id,
		.reusable = true,
		.expiry = tailnet_wall(&control.tailnet) + DAY_NS,
	};

	(void)arg;
	if (result->error)
		log_warnx("no first user: %s", result->why);
	else
		preauth_create(&control.tailnet, &wish, key_made, NULL);
}

void first_key_make(void)
{
	struct user_wish wish = {.name = FIRST_USER};

	if (!control.tailnet.n_users && !control.tailnet.n_nodes)
		user_create(&control.tailnet, &wish, user_made, NULL);
}
