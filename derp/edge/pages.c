/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs on: I/O loops; /bootstrap-dns on the control loop. */
#include "pages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/front.h>

#include "bootstrap_dns.h"

#define TEXT "text/plain; charset=utf-8"
#define HTML "text/html; charset=utf-8"
#define NAME_MAX_LEN 255

static char user; /* of the routes */

/* A client without UDP measures how long this takes; browsers may, too. */
static void serve_probe(struct front_request *request, void *arg)
{
	(void)arg;
	front_header(request, "Access-Control-Allow-Origin", "*");
	front_reply(request, 200, TEXT, "", 0);
}

static void serve_front_page(struct front_request *request, void *arg)
{
	static const char page[] =
		"<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>DERP</title>"
		"<body style=\"font-family:sans-serif;max-width:40em;margin:2em auto\">"
		"<h1>DERP</h1><p>This is a relay of Tailplane: it carries the encrypted packets of "
		"machines that cannot reach each other directly, and cannot read them.</p>"
		"</body></html>\n";

	(void)arg;
	front_reply(request, 200, HTML, page, sizeof(page) - 1);
}

static void serve_bootstrap_dns(struct front_request *request, void *arg)
{
	char name[NAME_MAX_LEN + 1], *json;
	ssize_t len = front_query_get(request, "q", name, sizeof(name));

	(void)arg;
	json = bootstrap_dns_json(len > 0 ? name : NULL);
	if (json)
		front_reply(request, 200, "application/json", json, strlen(json));
	else
		front_reply(request, 503, NULL, NULL, 0);
	free(json);
}

static void serve_debug(struct front_request *request, void *arg)
{
	static const char text[] = "<!doctype html><html lang=\"en\"><title>Relay</title>"
				   "<p><a href=\"/metrics\">metrics</a></p>"
				   "<p>tailplane derp status, tailplane derp clients</p></html>\n";

	(void)arg;
	front_reply(request, 200, HTML, text, sizeof(text) - 1);
}

/* Where derper's metrics are. */
static void serve_varz(struct front_request *request, void *arg)
{
	(void)arg;
	front_header(request, "Location", "/metrics");
	front_reply_text(request, 308, "metrics are at /metrics");
}

static const struct front_route routes[] = {
	{"GET", "/derp/probe", NULL, 0, 0, serve_probe, &user},
	{"GET", "/derp/latency-check", NULL, 0, 0, serve_probe, &user},
	{"GET", "/bootstrap-dns", NULL, FRONT_ON_CONTROL, 0, serve_bootstrap_dns, &user},
	{"GET", "/debug/", NULL, FRONT_METRICS, 0, serve_debug, &user},
	{"GET", "/debug/varz", NULL, FRONT_METRICS, 0, serve_varz, &user},
};
static const struct front_route routes_alone[] = {
	{"GET", "/", NULL, 0, 0, serve_front_page, &user},
};

static int add_all(const struct front_route *add, size_t n, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < n; i++)
		rc = front_route_add(&add[i], err);
	return rc;
}

int derp_pages_start(const struct derp_conf *conf, bool alone, struct err *err)
{
	int rc = add_all(routes, sizeof(routes) / sizeof(*routes), err);

	if (!rc && alone)
		rc = add_all(routes_alone, sizeof(routes_alone) / sizeof(*routes_alone), err);
	if (rc)
		front_routes_remove(&user);
	else
		bootstrap_dns_start(conf);
	return rc;
}

void derp_pages_apply(const struct derp_conf *conf)
{
	bootstrap_dns_apply(conf);
}

void derp_pages_stop(void)
{
	front_routes_remove(&user);
	bootstrap_dns_stop();
}
