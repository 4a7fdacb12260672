/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every public listener answers, whichever plugins are there. Runs on: I/O loops.
 */
#include "front_private.h"

#include <stdio.h>
#include <string.h>

#include <tailplane/front.h>

#define CHALLENGE_MAX 64

static char user; /* of the routes */

static void serve_robots(struct front_request *request, void *arg)
{
	static const char text[] = "User-agent: *\nDisallow: /\n";

	(void)arg;
	front_reply(request, 200, "text/plain; charset=utf-8", text, sizeof(text) - 1);
}

static bool is_challenge(const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._:-";

	return text && strlen(text) <= CHALLENGE_MAX && text[strspn(text, letters)] == '\0';
}

/* Whether a captive portal is in between: only we know the answer. */
static void serve_204(struct front_request *request, void *arg)
{
	const char *challenge = front_field(request, "X-Tailscale-Challenge");
	char response[CHALLENGE_MAX + 16];

	(void)arg;
	if (is_challenge(challenge)) {
		snprintf(response, sizeof(response), "response %s", challenge);
		front_header(request, "X-Tailscale-Response", response);
	}
	front_header(request, "Cache-Control",
		"no-cache, no-store, must-revalidate, no-transform, max-age=0");
	front_reply(request, 204, NULL, NULL, 0);
}

static const struct front_route routes[] = {
	{"GET", "/robots.txt", NULL, FRONT_PLAIN, 0, serve_robots, &user},
	{"GET", "/generate_204", NULL, FRONT_PLAIN, 0, serve_204, &user},
};

void front_pages_add(void)
{
	for (size_t i = 0; i < sizeof(routes) / sizeof(*routes); i++)
		front_route_add(&routes[i], NULL);
}

void front_pages_remove(void)
{
	front_routes_remove(&user);
}
