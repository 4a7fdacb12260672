/* SPDX-License-Identifier: BSD-3-Clause */
/* Looks at this server: its name, its address, and what clients reach of it. Control loop; the
 * look-up of the name in a job. */
#include "doctor.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/jobs.h>

#include "control.h"
#include "json_out.h"
#include "secret.h"

#define LOOK_MS 8000
#define LOOK_MAX 65536

/* ---- the name ------------------------------------------------------------------------------ */

/* Outlives its examination when the resolver does. */
struct lookup {
	struct job job;
	struct doctor *doctor; /* NULL: nobody waits */
	char host[256];
	int error;
	struct net_addr addrs[DOCTOR_ADDRS];
	size_t n;
};

static void resolve(struct job *job)
{
	struct lookup *lookup = (struct lookup *)job;
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *all = NULL;
	struct net_endpoint ep;

	lookup->error = getaddrinfo(lookup->host, NULL, &hints, &all);
	if (lookup->error)
		return;
	for (const struct addrinfo *at = all; at && lookup->n < DOCTOR_ADDRS; at = at->ai_next)
		if (!net_endpoint_from_sockaddr(&ep, at->ai_addr))
			lookup->addrs[lookup->n++] = ep.addr;
	freeaddrinfo(all);
}

static void resolved(struct job *job)
{
	struct lookup *lookup = (struct lookup *)job;
	struct doctor *d = lookup->doctor;

	if (d) {
		d->lookup = NULL;
		d->facts.name_problem = lookup->error ? gai_strerror(lookup->error) : NULL;
		memcpy(d->facts.addrs, lookup->addrs, sizeof(lookup->addrs));
		d->facts.n_addrs = lookup->n;
		doctor_task_done(d, TASK_LOOKUP);
	}
	free(lookup);
}

void doctor_look_name(struct doctor *d)
{
	struct lookup *lookup = calloc(1, sizeof(*lookup));

	if (!lookup)
		abort();
	lookup->job = (struct job){.run = resolve, .done = resolved, .name = "doctor_lookup"};
	lookup->doctor = d;
	snprintf(lookup->host, sizeof(lookup->host), "%s", d->host);
	d->lookup = lookup;
	d->facts.name_problem = "no answer came in time";
	job_submit(&lookup->job);
}

void doctor_forget_name(struct doctor *d)
{
	if (d->lookup)
		d->lookup->doctor = NULL;
	d->lookup = NULL;
}

/* ---- over HTTP ----------------------------------------------------------------------------- */

void doctor_fetch(
	struct doctor *d, struct asked *asked, struct fetch_request *look, fetch_done_fn done)
{
	asked->doctor = d;
	look->max = LOOK_MAX;
	look->any_status = look->no_proxy = look->expiry = true;
	if (fetch_start(d->fetcher, look, done, asked))
		d->tasks |= asked->task;
	else
		doctor_task_done(d, asked->task);
}

static void fill(struct doctor_look *look, const struct fetch_answer *seen)
{
	look->status = seen->status;
	look->at.family = 0;
	if (seen->address[0])
		net_addr_parse(&look->at, seen->address);
	snprintf(look->why, sizeof(look->why), "%s", seen->problem ? seen->problem : "");
}

static void self_done(void *arg, const struct fetch_answer *seen);

static void look_self(struct doctor *d, bool untrusted)
{
	struct fetch_request look = {
		.url = d->self_url, .untrusted = untrusted, .timeout_ms = LOOK_MS};

	d->self.task = TASK_SELF;
	doctor_fetch(d, &d->self, &look, self_done);
}

/* With a certificate that is not believed it asks again, not to learn less than it could. */
static void self_done(void *arg, const struct fetch_answer *seen)
{
	struct doctor *d = ((struct asked *)arg)->doctor;
	struct doctor_look *self = &d->facts.self;
	char first[sizeof(self->why)];

	memcpy(first, self->why, sizeof(first));
	fill(self, seen);
	self->answer =
		seen->problem ? ANSWER_NONE
		: seen->len > DOCTOR_TOKEN && secret_equal(seen->body, d->self_token, DOCTOR_TOKEN)
			? ANSWER_OURS
			: ANSWER_STRANGER;
	if (seen->expires)
		d->facts.certificate_ends = seen->expires;
	if (seen->distrusted && !d->facts.distrusted) {
		d->facts.distrusted = true;
		look_self(d, true);
		return;
	}
	if (d->facts.distrusted)
		memcpy(self->why, first, sizeof(first));
	doctor_task_done(d, TASK_SELF);
}

void doctor_look_self(struct doctor *d)
{
	look_self(d, false);
}

static void plain_done(void *arg, const struct fetch_answer *seen)
{
	struct doctor *d = ((struct asked *)arg)->doctor;

	fill(&d->facts.plain, seen);
	d->facts.plain.answer = seen->problem ? ANSWER_NONE : ANSWER_STRANGER;
	doctor_task_done(d, TASK_PLAIN);
}

void doctor_look_plain(struct doctor *d)
{
	struct fetch_request look = {.url = d->plain_url, .timeout_ms = LOOK_MS};

	d->plain.task = TASK_PLAIN;
	if (d->facts.https)
		doctor_fetch(d, &d->plain, &look, plain_done);
}

/* ---- through clients ----------------------------------------------------------------------- */

static void ask(struct doctor *d, struct node *node, const char *token)
{
	struct json_out out = {0};

	json_out_text(&out, "\"PingRequest\":{\"URL\":\"");
	json_out_text(&out, control.server_url);
	json_out_text(&out, "/machine/ping-response?id=");
	json_out_text(&out, token);
	json_out_raw(&out, "\"}", 3); /* with its NUL */
	if (json_out_ok(&out) && map_tell(control.map, node, out.text)) {
		d->facts.clients_asked++;
		d->tasks |= TASK_CLIENTS;
	}
	json_out_fini(&out);
}

/* Some of those online, over the whole list. */
void doctor_ask_clients(struct doctor *d)
{
	size_t n, online = 0, step, at = 0;
	struct node **nodes = nodes_list(&control.tailnet, &n);

	for (size_t i = 0; i < n; i++)
		if (nodes[i]->online)
			nodes[online++] = nodes[i];
	step = online / DOCTOR_CLIENTS + 1;
	for (size_t i = 0; i < online && at < DOCTOR_CLIENTS; i += step, at++) {
		doctor_token(d->client_tokens[at]);
		ask(d, nodes[i], d->client_tokens[at]);
	}
	free(nodes);
}

bool doctor_visited(struct doctor *d, const char token[static DOCTOR_TOKEN],
	const struct net_endpoint *from, bool secure)
{
	if (secret_equal(token, d->self_token, DOCTOR_TOKEN)) {
		d->facts.request_is_secure = secure;
		return true;
	}
	for (size_t i = 0; i < DOCTOR_CLIENTS; i++) {
		if (!secret_equal(token, d->client_tokens[i], DOCTOR_TOKEN))
			continue;
		if (!d->facts.client.family || address_is_private(&d->facts.client))
			d->facts.client = from->addr;
		d->client_tokens[i][0] = 0;
		if (++d->clients_came >= d->facts.clients_asked)
			doctor_task_done(d, TASK_CLIENTS);
		return true;
	}
	return false;
}
