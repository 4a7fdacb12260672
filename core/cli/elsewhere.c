/* SPDX-License-Identifier: BSD-3-Clause */
/* Words of Headscale's command line that are not commands here: the way out instead of a bare no.
 * A daemon that has a command of that name is asked first. */
#include "elsewhere.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "nearest.h"

#define SLIP_MIN 4 /* shorter words are near to too many */

static const struct {
	const char *path, *words, *instead;
} elsewhere[] = {
	{"", "-c|--config",
		"the daemon reads the configuration, 'tailplaned -c FILE'; this program asks the "
		"daemon, and --socket names another one"},
	{"", "serve",
		"the server is a program of its own: 'sudo systemctl start tailplaned', or 'sudo "
		"tailplaned -c FILE' in the foreground"},
	{"", "generate|gen",
		"the server makes its keys itself when it starts without them; 'tailplane keys "
		"new' makes one for WireGuard"},
	{"", "dumpConfig", "'tailplaned -nv -c FILE' prints the configuration as it is understood"},
	{"", "namespaces|namespace|ns", "they are called users: 'tailplane users list'"},
	{"", "routes",
		"routes are their nodes': 'tailplane nodes list-routes' and 'tailplane nodes "
		"approve-routes'"},
	{"", "oauth-clients|oauth-client|oauthclients|oauthclient|oauth",
		"they are for an HTTP API, which is not there yet: programs use 'tailplane -o "
		"json'"},
	{"", "debug",
		"'tailplane doctor' says what keeps clients away, 'tailplane help' what else can "
		"be looked at"},
	{"nodes", "move|mv",
		"a node stays its user's: its machine logs in anew, 'tailscale up --force-reauth', "
		"and is registered for the other one"},
	{"import", "headscale",
		"settings of the group control have Headscale's names (man tailplane.conf); users "
		"and nodes are not carried over: clients join anew"},
};

/* Whether one of the words between the bars is `given`, of `n` characters. */
static bool names_one(const char *words, const char *given, size_t n)
{
	for (; *words != '\0'; words += strspn(words, "|")) {
		size_t len = strcspn(words, "|");

		if (len == n && strncmp(words, given, n) == 0)
			return true;
		words += len;
	}
	return false;
}

const char *elsewhere_find(const char *path, const char *word)
{
	size_t n = word[0] == '-' ? strcspn(word, "=") : strlen(word);

	for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++)
		if (strcmp(elsewhere[i].path, path) == 0 && names_one(elsewhere[i].words, word, n))
			return elsewhere[i].instead;
	return NULL;
}

/* Whether one of the words between the bars is nearer than what `nearest` has. */
static bool names_nearer(const char *words, struct nearest *nearest)
{
	unsigned before = nearest->distance;
	char one[32];

	for (; *words != '\0'; words += strspn(words, "|")) {
		size_t len = strcspn(words, "|");

		snprintf(one, sizeof(one), "%.*s", (int)len, words);
		if (one[0] != '-')
			nearest_offer(nearest, one);
		nearest->best = ""; /* its distance is what the next one has to beat */
		words += len;
	}
	return nearest->distance < before;
}

const char *elsewhere_near(const char *path, const char *word, unsigned below)
{
	struct nearest nearest = {.typed = word, .best = "", .distance = below};
	const char *instead = NULL;

	if (word[0] == '-' || strlen(word) < SLIP_MIN)
		return NULL;
	for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++)
		if (strcmp(elsewhere[i].path, path) == 0 &&
			names_nearer(elsewhere[i].words, &nearest))
			instead = elsewhere[i].instead;
	return instead;
}
