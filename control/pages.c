/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop: the routes are FRONT_ON_CONTROL. */
#include "pages.h"

#include <stdio.h>
#include <string.h>

#include <tailplane/front.h>

#include "admission.h"
#include "json_in.h"
#include "key_text.h"
#include "pending.h"

#define VERIFY_MAX 4096
#define PAGE_MAX 4096

static struct tailnet *tailnet;

static void register_reply(struct front_request *request, int status, const char *says)
{
	char page[PAGE_MAX];
	int len = snprintf(page, sizeof(page),
		"<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">"
		"<title>Register a machine</title></head><body><h1>Register a machine</h1>"
		"<p>%s</body></html>\n",
		says);

	front_reply(request, status, "text/html; charset=utf-8", page, (size_t)len);
}

/* The id was checked: what is in the page of it are letters, digits and '-'. */
static void register_page(struct front_request *request, void *user)
{
	const char *id = strrchr(front_path(request), '/') + 1;
	char says[PAGE_MAX / 2];
	const struct pending *pending;

	(void)user;
	if (!auth_id_valid(id)) {
		front_reply_text(request, 400, "this is no id of a registration\n");
		return;
	}
	pending = pending_by_id(tailnet, id);
	snprintf(says, sizeof(says),
		"An administrator lets this machine in with this command, on the control "
		"server:<pre>tailplane auth register --auth-id %s --user USER</pre>",
		id);
	if (!pending)
		register_reply(request, 404,
			"No machine waits here any more: the time for it is over, or the server "
			"was "
			"restarted. Log in again on the machine; it shows a new address.");
	else
		register_reply(request, 200,
			pending->state == PENDING_WAITS ? says
							: "This registration was decided already.");
}

/* A relay asks whether a client may use it. */
static void verify(struct front_request *request, void *user)
{
	size_t len;
	const uint8_t *body = front_body(request, &len);
	struct public_key key;
	struct err err = {0};
	json_t *object = json_in_object(body, len, &err);
	int rc = object ? json_in_key(object, "NodePublic", KEY_TEXT_NODE, &key, &err) : -1;
	const char *text;

	(void)user;
	json_decref(object);
	if (rc) {
		front_reply_text(request, 400, err.msg);
		return;
	}
	text = admission_allows(&key) ? "{\"Allow\":true}" : "{\"Allow\":false}";
	front_reply(request, 200, "application/json", text, strlen(text));
}

int pages_start(struct tailnet *t, struct err *err)
{
	static const struct front_route routes[] = {
		{"GET", "/register/", NULL, FRONT_ON_CONTROL | FRONT_PREFIX, 0, register_page,
			&tailnet},
		{"POST", "/verify", NULL, FRONT_ON_CONTROL, VERIFY_MAX, verify, &tailnet},
	};
	int rc = 0;

	tailnet = t;
	for (size_t i = 0; !rc && i < sizeof(routes) / sizeof(*routes); i++)
		rc = front_route_add(&routes[i], err);
	if (rc)
		pages_stop();
	return rc;
}

void pages_stop(void)
{
	front_routes_remove(&tailnet);
}
