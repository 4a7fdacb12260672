/* SPDX-License-Identifier: BSD-3-Clause */
/* Pages and probes that need no tailnet. Runs on: I/O loops; /health on the control loop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/front.h>
#include <tailplane/store.h>

#include "private.h"

#define HTML "text/html; charset=utf-8"
#define JSON "application/json"

/* The server's public key, over TLS where there is any: what clients trust from then on. */
static void serve_key(struct front_request *request, void *user)
{
	char version[16], hex[65], json[320];

	(void)user;
	if (front_query_get(request, "v", version, sizeof(version)) <= 0) {
		front_reply_text(
			request, 400, "the client's capability version is missing: /key?v=");
		return;
	}
	for (unsigned i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", transport.server.public_key.bytes[i]);
	snprintf(json, sizeof(json),
		"{\"legacyPublicKey\":\"mkey:%064d\",\"publicKey\":\"mkey:%s\"}\n", 0, hex);
	front_reply(request, 200, JSON, json, strlen(json));
}

/* On the control loop: an answer tells that it runs. */
static void serve_health(struct front_request *request, void *user)
{
	const char *why = NULL;
	bool healthy = store_healthy(&why);
	const char *json = healthy ? "{\"status\":\"pass\"}\n" : "{\"status\":\"fail\"}\n";

	(void)user;
	front_reply(request, healthy ? 200 : 500, "application/health+json; charset=utf-8", json,
		strlen(json));
}

static void serve_version(struct front_request *request, void *user)
{
	static const char json[] = "{\"version\":\"" TAILPLANE_VERSION "\"}\n";

	(void)user;
	front_reply(request, 200, JSON, json, sizeof(json) - 1);
}

static void serve_blank(struct front_request *request, void *user)
{
	(void)user;
	front_reply(request, 200, HTML, "", 0);
}

/* ---- how to join ---- */

void print_escaped(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (strchr("<>&\"'", *text))
			fprintf(out, "&#%d;", *text);
		else
			fputc(*text, out);
	}
}

struct page {
	const char *title, *before, *after; /* the server's address comes between */
};

static const struct page apple_page = {"Apple devices",
	"<h2>macOS</h2><p>In a terminal:</p><pre>tailscale login --login-server ",
	"</pre><p>or hold Option, click the Tailscale icon, and choose Debug, Custom Login "
	"Server; or install a profile: <a href=\"/apple/macos-app-store\">for the App Store's "
	"app</a>, <a href=\"/apple/macos-standalone\">for the standalone one</a>.</p>"
	"<h2>iOS, tvOS</h2><p>Install Tailscale, open its settings from the account icon, choose "
	"Log in, then the menu at the top right, Use custom coordination server, and enter the "
	"address above. Or install <a href=\"/apple/ios\">a profile</a>.</p>"};

static const struct page windows_page = {"Windows",
	"<p>Install Tailscale, then in a terminal:</p><pre>tailscale login --login-server ",
	"</pre><p>A browser opens to finish the login. In an unattended installation set "
	"<code>LoginURL</code> (a string) in <code>HKLM\\SOFTWARE\\Tailscale IPN</code> to the "
	"address.</p>"};

static void serve_page(struct front_request *request, const struct page *page)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out) {
		front_reply_text(request, 503, "no memory");
		return;
	}
	fprintf(out,
		"<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" "
		"content=\"width=device-width\"><title>Tailplane: %s</title>"
		"<body style=\"font-family:sans-serif;max-width:40em;margin:2em auto\">"
		"<h1>%s</h1>%s",
		page->title, page->title, page->before);
	print_escaped(out, transport.server_url);
	fprintf(out, "%s</body></html>\n", page->after);
	if (fclose(out) == 0)
		front_reply(request, 200, HTML, text, len);
	else
		front_reply_text(request, 503, "no memory");
	free(text);
}

static void serve_apple(struct front_request *request, void *user)
{
	(void)user;
	serve_page(request, &apple_page);
}

static void serve_windows(struct front_request *request, void *user)
{
	(void)user;
	serve_page(request, &windows_page);
}

int pages_add(struct err *err)
{
	static const struct front_route routes[] = {
		{"GET", "/key", NULL, 0, 0, serve_key, &transport},
		{"GET", "/health", NULL, FRONT_ON_CONTROL, 0, serve_health, &transport},
		{"GET", "/version", NULL, 0, 0, serve_version, &transport},
		{"GET", "/", NULL, 0, 0, serve_blank, &transport},
		{"GET", "/apple", NULL, 0, 0, serve_apple, &transport},
		{"GET", "/apple/", NULL, FRONT_PREFIX, 0, serve_profile, &transport},
		{"GET", "/windows", NULL, 0, 0, serve_windows, &transport},
	};
	int rc = 0;

	for (size_t i = 0; !rc && i < sizeof(routes) / sizeof(routes[0]); i++)
		rc = front_route_add(&routes[i], err);
	return rc;
}
