/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop; look-ups are a job. */
#include "bootstrap_dns.h"

#include <jansson.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/jobs.h>
#include <tailplane/loop.h>

#define LOOK_EVERY 600.
#define RETRY_EVERY 10. /* while there is a name of which nothing is known */
#define ADDRESSES_MAX 16

/* One round over all names; they are the job's own. */
struct round {
	struct job job;
	char **names;
	json_t **addresses; /* arrays of texts; NULL: the look-up failed */
	size_t n;
	_Atomic bool ends; /* nobody waits for the names that are left: said by the control loop */
};

static struct {
	const struct derp_conf *conf;
	json_t *known;
	struct round *round;
	bool again; /* the names changed in the meantime */
	ev_timer look;
} dns;

/* ---- the job ------------------------------------------------------------------------------- */

static json_t *look_up(const char *name)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	json_t *addresses;

	if (getaddrinfo(name, NULL, &hints, &found) != 0)
		return NULL;
	addresses = json_array();
	for (const struct addrinfo *at = found; at && json_array_size(addresses) < ADDRESSES_MAX;
		at = at->ai_next) {
		char text[NI_MAXHOST];

		if (getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof(text), NULL, 0,
			    NI_NUMERICHOST) == 0)
			json_array_append_new(addresses, json_string(text));
	}
	freeaddrinfo(found);
	return addresses;
}

static void round_run(struct job *job)
{
	struct round *round = (struct round *)job;

	for (size_t i = 0;
		i < round->n && !atomic_load_explicit(&round->ends, memory_order_relaxed); i++)
		round->addresses[i] = look_up(round->names[i]);
}

static void round_free(struct round *round)
{
	for (size_t i = 0; i < round->n; i++) {
		free(round->names[i]);
		json_decref(round->addresses[i]);
	}
	free(round->names);
	free(round->addresses);
	free(round);
}

static bool is_wanted(const char *name)
{
	const struct setting_list *names = &dns.conf->bootstrap_dns_names;

	for (size_t i = 0; i < names->count; i++)
		if (!strcmp(((char **)names->items)[i], name))
			return true;
	return false;
}

static void look_in(double seconds)
{
	ev_timer_stop(core_loop(), &dns.look);
	ev_timer_set(&dns.look, seconds, 0.);
	if (dns.conf->bootstrap_dns_names.count)
		ev_timer_start(core_loop(), &dns.look);
}

static void round_done(struct job *job)
{
	struct round *round = (struct round *)job;
	bool missing = false;

	dns.round = NULL;
	if (atomic_load_explicit(&round->ends, memory_order_relaxed)) {
		round_free(round); /* and no timer begins: what is here is about to be gone */
		return;
	}
	for (size_t i = 0; i < round->n; i++) {
		const char *name = round->names[i];

		if (round->addresses[i] && is_wanted(name))
			json_object_set(dns.known, name, round->addresses[i]);
		missing |= !json_object_get(dns.known, name);
	}
	round_free(round);
	look_in(dns.again ? 0. : missing ? RETRY_EVERY : LOOK_EVERY);
	dns.again = false;
}

static struct round *round_new(const struct setting_list *names)
{
	struct round *round = calloc(1, sizeof(*round));

	if (!round)
		return NULL;
	round->job = (struct job){.run = round_run, .done = round_done, .name = "bootstrap-dns"};
	round->names = calloc(names->count, sizeof(*round->names));
	round->addresses = calloc(names->count, sizeof(*round->addresses));
	while (round->names && round->addresses && round->n < names->count) {
		char *name = strdup(((char **)names->items)[round->n]);

		if (!name)
			break;
		round->names[round->n++] = name;
	}
	return round;
}

LOOP_CALLBACK(bootstrap_dns_look, ev_timer)
{
	(void)loop, (void)watcher, (void)revents;
	dns.round = round_new(&dns.conf->bootstrap_dns_names);
	if (dns.round)
		job_submit(&dns.round->job);
	else
		look_in(LOOK_EVERY);
}

/* ---- life ---------------------------------------------------------------------------------- */

void bootstrap_dns_start(const struct derp_conf *conf)
{
	dns.conf = conf;
	dns.known = json_object();
	ev_timer_init(&dns.look, bootstrap_dns_look, 0., 0.);
	look_in(0.);
}

/* What is known of names that stay is told on; a resolver that does not answer is not waited for.
 */
void bootstrap_dns_apply(const struct derp_conf *conf)
{
	const char *name;
	json_t *addresses;
	void *next;

	dns.conf = conf;
	json_object_foreach_safe(dns.known, next, name, addresses)
	{
		if (!is_wanted(name))
			json_object_del(dns.known, name);
	}
	if (dns.round)
		dns.again = true;
	else
		look_in(0.);
}

/* A resolver that does not answer holds us up for one name, not for all. */
void bootstrap_dns_stop(void)
{
	ev_timer_stop(core_loop(), &dns.look);
	if (dns.round) {
		atomic_store_explicit(&dns.round->ends, true, memory_order_relaxed);
		jobs_drain();
	}
	json_decref(dns.known);
	memset(&dns, 0, sizeof(dns));
}

char *bootstrap_dns_json(const char *name)
{
	json_t *one, *addresses = name ? json_object_get(dns.known, name) : NULL;
	char *text;

	if (!name)
		return json_dumps(dns.known, JSON_COMPACT);
	one = json_object();
	if (addresses)
		json_object_set(one, name, addresses);
	text = json_dumps(one, JSON_COMPACT);
	json_decref(one);
	return text;
}
