/* SPDX-License-Identifier: BSD-3-Clause */
/* Looks at relays, and at ourselves with their eyes. Control loop. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <tailplane/plugin.h>
#include <tailplane/relay.h>

#include "control.h"
#include "doctor.h"
#include "relays.h"
#include "secret.h"
#include "stun.h"

#define RELAY_MS 6000
#define STUN_RELAYS 16

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text && *text ? text : NULL;
}

static int64_t number_of(const json_t *object, const char *name, int64_t def)
{
	int64_t n = json_integer_value(json_object_get(object, name));

	return n ? n : def;
}

/* ---- over https ---------------------------------------------------------------------------- */

static void relay_done(void *arg, const struct fetch_answer *seen)
{
	struct asked *asked = arg;
	struct doctor *d = asked->doctor;

	d->facts.relays_answered += !seen->problem && seen->status / 100 == 2;
	if (seen->date && !d->facts.clock_compared) {
		d->facts.clock_compared = true;
		d->facts.clock_ahead = time(NULL) - seen->date;
	}
	doctor_task_done(d, asked->task);
}

static void ask_relay(struct doctor *d, size_t i, const json_t *node)
{
	const char *cert = text_of(node, "CertName"), *ip = text_of(node, "IPv4");
	const char *host = text_of(node, "HostName");
	struct net_addr addr;
	char url[400];
	struct fetch_request look = {.url = url,
		/* clients compare a pinned one by its hash */
		.untrusted = (cert && !strncmp(cert, "sha256-raw:", 11)) ||
			     json_is_true(json_object_get(node, "InsecureForTests")),
		.timeout_ms = RELAY_MS};

	if (!host || json_is_true(json_object_get(node, "STUNOnly")))
		return;
	if (ip && !net_addr_parse(&addr, ip))
		look.connect_to = ip;
	snprintf(url, sizeof(url), "https://%.255s:%lld/derp/probe", host,
		(long long)number_of(node, "DERPPort", 443));
	d->facts.relays_asked++;
	d->relays[i].task = TASK_RELAYS << i;
	doctor_fetch(d, &d->relays[i], &look, relay_done);
}

/* ---- over UDP ------------------------------------------------------------------------------ */

void doctor_stop_stun(struct doctor *d)
{
	if (d->stun_fd < 0)
		return;
	ev_io_stop(core_loop(), &d->stun_io);
	close(d->stun_fd);
	d->stun_fd = -1;
}

LOOP_CALLBACK(stun_ready, ev_io)
{
	struct doctor *d = watcher->data;
	struct net_endpoint seen;
	uint8_t bytes[512];
	ssize_t n;

	(void)loop, (void)revents;
	while ((n = recv(watcher->fd, bytes, sizeof(bytes), 0)) >= 0 || errno == ECONNREFUSED) {
		if (n < 0 || !stun_answer_read(bytes, (size_t)n, d->stun_id, &seen))
			continue;
		d->facts.public_addr = seen.addr;
		doctor_stop_stun(d);
		doctor_task_done(d, TASK_STUN);
		return;
	}
}

static bool stun_open(struct doctor *d)
{
	if (d->stun_fd >= 0)
		return true;
	d->stun_fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (d->stun_fd < 0)
		return false;
	secret_random(d->stun_id, sizeof(d->stun_id));
	ev_io_init(&d->stun_io, stun_ready, d->stun_fd, EV_READ);
	d->stun_io.data = d;
	ev_io_start(core_loop(), &d->stun_io);
	return true;
}

static void ask_stun(struct doctor *d, const json_t *node)
{
	const char *ip = text_of(node, "IPv4");
	int64_t port = number_of(node, "STUNPort", STUN_PORT);
	uint8_t request[STUN_REQUEST_SIZE];
	struct net_endpoint to = {.port = (uint16_t)port};
	struct sockaddr_storage ss;
	socklen_t len;

	if (!ip || port < 1 || port > 65535 || net_addr_parse(&to.addr, ip) ||
		to.addr.family != AF_INET || !stun_open(d))
		return;
	stun_request_write(request, d->stun_id);
	len = net_endpoint_to_sockaddr(&to, &ss);
	if (sendto(d->stun_fd, request, sizeof(request), 0, (struct sockaddr *)&ss, len) < 0)
		return;
	d->facts.stun_asked++;
	d->tasks |= TASK_STUN;
}

/* ---- our own ------------------------------------------------------------------------------- */

static void note_own(struct doctor *d, const json_t *map)
{
	const struct relay_ops *relay = core_service(RELAY_SERVICE);
	struct err err = {0};
	json_t *region = relay ? relay->region(NULL, &err) : NULL;
	const json_t *node = json_array_get(json_object_get(region, "Nodes"), 0), *other;
	int64_t stun = number_of(node, "STUNPort", STUN_PORT);
	const char *key;

	json_object_foreach (json_object_get(map, "Regions"), key, other) {
		if (!json_equal(other, region))
			continue;
		d->facts.relay.tcp = (uint16_t)number_of(node, "DERPPort", 443);
		d->facts.relay.stun = stun > 0 ? (uint16_t)stun : 0;
	}
	json_decref(region);
}

void doctor_look_relays(struct doctor *d)
{
	const char *text = control.relays ? relays_json(control.relays) : NULL, *key;
	json_t *map = text ? json_loads(text, 0, NULL) : NULL, *region;
	size_t i = 0;

	note_own(d, map);
	json_object_foreach (json_object_get(map, "Regions"), key, region) {
		const json_t *node = json_array_get(json_object_get(region, "Nodes"), 0);

		if (i < DOCTOR_RELAYS)
			ask_relay(d, i, node);
		if (i < STUN_RELAYS)
			ask_stun(d, node);
		i++;
	}
	json_decref(map);
}
