/* SPDX-License-Identifier: BSD-3-Clause */
/* An examination from its beginning to its answer. Control loop. */
#include "doctor.h"

#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>

#include <sodium.h>

#include <tailplane/front.h>
#include <tailplane/store.h>

#include "control.h"
#include "relays.h"
#include "secret.h"

#define AT_ONCE 4
#define PATIENCE_S 4. /* with what may never answer */
#define END_S 12.

static struct doctor *doctors;

/* ---- the page that looks come in at -------------------------------------------------------- */

void doctor_token(char token[DOCTOR_TOKEN + 1])
{
	uint8_t random[DOCTOR_TOKEN / 2];

	secret_random(random, sizeof(random));
	sodium_bin2hex(token, DOCTOR_TOKEN + 1, random, sizeof(random));
}

/* Clients are asked by a HEAD, from wherever they are: what they reach is what is told. */
static void visited(struct front_request *request, void *user)
{
	char token[DOCTOR_TOKEN + 1];
	bool known = false;

	(void)user;
	if (front_query_get(request, "id", token, sizeof(token)) == DOCTOR_TOKEN)
		for (struct doctor *d = doctors; d && !known; d = d->next)
			known = doctor_visited(
				d, token, front_from(request), front_is_secure(request));
	front_reply_text(request, known ? 200 : 404, known ? token : "nobody waits for this");
}

int doctor_start(struct err *err)
{
	static const struct front_route route = {
		"GET", "/machine/ping-response", NULL, FRONT_ON_CONTROL, 0, visited, &doctors};

	return front_route_add(&route, err);
}

/* ---- life ---------------------------------------------------------------------------------- */

static void doctor_free(struct doctor *d)
{
	fetcher_free(d->fetcher);
	doctor_forget_name(d);
	doctor_stop_stun(d);
	ev_timer_stop(core_loop(), &d->patience);
	ev_timer_stop(core_loop(), &d->end);
	*d->prev = d->next;
	if (d->next)
		d->next->prev = d->prev;
	free(d);
}

static void answer_now(struct doctor *d)
{
	static const char *const states[] = {"ok", "warning", "failed"};
	struct finding findings[FINDINGS_MAX];
	size_t n, failed = 0;
	json_t *rows = json_array();

	d->facts.certificates_problem = front_certificates_problem(); /* a reload ends its text */
	n = doctor_judge(&d->facts, findings);
	for (size_t i = 0; i < n; i++) {
		const struct finding *f = &findings[i];

		failed += f->state == FINDING_FAILED;
		json_array_append_new(
			rows, json_pack("{s:s, s:s, s:s, s:s}", "check", f->check, "state",
				      states[f->state], "found", f->found, "advice", f->advice));
	}
	if (failed)
		op_reply_failed(d->call, rows, "%zu of %zu checks failed", failed, n);
	else
		op_reply(d->call, rows);
	doctor_free(d);
}

void doctor_task_done(struct doctor *d, unsigned tasks)
{
	d->tasks &= ~tasks;
	if (!d->tasks)
		ev_feed_event(core_loop(), &d->end, EV_TIMER);
}

LOOP_CALLBACK(doctor_ends, ev_timer)
{
	(void)loop, (void)revents;
	answer_now(watcher->data);
}

LOOP_CALLBACK(doctor_patience, ev_timer)
{
	(void)loop, (void)revents;
	doctor_task_done(watcher->data, TASKS_PATIENT);
}

static void asker_left(void *arg)
{
	doctor_free(arg);
}

/* The calls themselves are ended by who stops the plugin. */
void doctor_stop(void)
{
	while (doctors)
		doctor_free(doctors);
	front_routes_remove(&doctors);
}

/* ---- what is seen at once ------------------------------------------------------------------ */

static void own_addresses(struct doctor_facts *f)
{
	struct ifaddrs *all = NULL;
	struct net_endpoint ep;

	if (getifaddrs(&all))
		return;
	for (const struct ifaddrs *at = all; at && f->n_own < DOCTOR_OWN_ADDRS; at = at->ifa_next)
		if (at->ifa_addr && !net_endpoint_from_sockaddr(&ep, at->ifa_addr))
			f->own[f->n_own++] = ep.addr;
	freeifaddrs(all);
}

static void local_facts(struct doctor *d)
{
	struct doctor_facts *f = &d->facts;
	struct timex kernel = {0};
	const char *why = NULL;

	f->now = time(NULL);
	f->clock_disciplined = adjtimex(&kernel) != TIME_ERROR && !(kernel.status & STA_UNSYNC);
	if (!store_healthy(&why))
		f->store_problem = why;
	f->listener.port = front_port(&f->listener.tls);
	f->regions = control.relays ? relays_count(control.relays) : 0;
	f->relays_problem = control.relays ? relays_problem(control.relays) : "out of memory";
	own_addresses(f);
}

/* server_url was checked: a scheme, a host, perhaps a port. */
static bool url_parts(struct doctor *d)
{
	const char *url = control.server_url, *rest = strstr(url, "://") + 3;
	const char *colon = strrchr(rest, ':'), *bracket = strrchr(rest, ']');
	bool has_port = colon && (!bracket || colon > bracket);
	struct net_addr literal;
	char text[300];

	d->facts.server_url = url;
	d->facts.https = !strncmp(url, "https:", 6);
	snprintf(text, sizeof(text), has_port ? "%s" : d->facts.https ? "%s:443" : "%s:80", rest);
	if (net_hostport_split(text, d->host, sizeof(d->host), &d->facts.port))
		return false;
	d->facts.host = d->host;
	d->facts.literal = !net_addr_parse(&literal, d->host);
	snprintf(d->bracketed, sizeof(d->bracketed), strchr(d->host, ':') ? "[%s]" : "%s", d->host);
	doctor_token(d->self_token);
	snprintf(d->self_url, sizeof(d->self_url), "%s/machine/ping-response?id=%s", url,
		d->self_token);
	snprintf(d->plain_url, sizeof(d->plain_url), "http://%s/", d->bracketed);
	return true;
}

static struct doctor *doctor_new(struct op_call *call)
{
	struct doctor *d = calloc(1, sizeof(*d));

	if (!d)
		abort();
	d->fetcher = fetcher_new();
	if (!d->fetcher)
		abort();
	d->call = call;
	d->stun_fd = -1;
	ev_timer_init(&d->patience, doctor_patience, PATIENCE_S, 0.);
	ev_timer_init(&d->end, doctor_ends, END_S, 0.);
	d->patience.data = d->end.data = d;
	d->next = doctors;
	d->prev = &doctors;
	if (doctors)
		doctors->prev = &d->next;
	doctors = d;
	return d;
}

void run_doctor(struct op_call *call, const json_t *args)
{
	size_t busy = 0;
	struct doctor *d;

	(void)args;
	for (d = doctors; d; d = d->next)
		busy++;
	if (busy >= AT_ONCE) {
		op_fail(call, "%zu examinations are under way: wait for one to end", busy);
		return;
	}
	d = doctor_new(call);
	if (!url_parts(d)) {
		op_fail(call, "server_url is not understood: %s", control.server_url);
		doctor_free(d);
		return;
	}
	op_on_close(call, asker_left, d);
	local_facts(d);
	ev_timer_start(core_loop(), &d->patience);
	ev_timer_start(core_loop(), &d->end);
	d->tasks = TASK_BEGIN | TASK_LOOKUP | TASK_SELF;
	doctor_look_name(d);
	doctor_look_self(d);
	doctor_look_plain(d);
	doctor_ask_clients(d);
	doctor_look_relays(d);
	doctor_task_done(d, TASK_BEGIN);
}
