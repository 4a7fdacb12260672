/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "verify_url.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <tailplane/log.h>
#include <tailplane/loop.h>

#include "fetch.h"

#define TIMEOUT_MS 5000
#define ANSWER_MAX 4096
#define AT_ONCE 64
#define WAITING_MAX 8192
#define COMPLAIN_EVERY 60000000000ull

struct url_call {
	struct url_call *next, **prev; /* of those that run, or wait */
	char *url;
	struct public_key key;
	struct net_addr from;
	void (*done)(void *arg, enum verdict verdict);
	void *arg;
};

struct calls {
	struct url_call *head, **tail;
	unsigned n;
};

static struct {
	struct fetcher *fetcher;
	struct calls running, waiting;
	uint64_t complained; /* when; 0: never */
} urls;

static void add(struct calls *calls, struct url_call *call)
{
	call->next = NULL;
	call->prev = calls->tail;
	*calls->tail = call;
	calls->tail = &call->next;
	calls->n++;
}

static void take_out(struct calls *calls, struct url_call *call)
{
	*call->prev = call->next;
	if (call->next)
		call->next->prev = call->prev;
	else
		calls->tail = call->prev;
	calls->n--;
}

static void call_free(struct calls *calls, struct url_call *call)
{
	take_out(calls, call);
	free(call->url);
	free(call);
}

/* ---- one call ------------------------------------------------------------------------------ */

static void body_of(const struct url_call *call, char *body, size_t size)
{
	char address[NET_ADDR_STRLEN] = "", hex[65];

	for (unsigned i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", call->key.bytes[i]);
	if (call->from.family)
		net_addr_format(&call->from, address);
	snprintf(body, size, "{\"NodePublic\":\"nodekey:%s\",\"Source\":\"%s\"}", hex, address);
}

static void answered(void *arg, const struct fetch_answer *answer);

static void begin_some(void)
{
	while (urls.waiting.head && urls.running.n < AT_ONCE) {
		struct url_call *call = urls.waiting.head;
		char body[256];
		const struct fetch_request request = {.url = call->url,
			.json = body,
			.max = ANSWER_MAX,
			.timeout_ms = TIMEOUT_MS,
			.any_status = true,
			.keep = true};

		body_of(call, body, sizeof(body));
		if (!fetch_start(urls.fetcher, &request, answered, call))
			abort();
		take_out(&urls.waiting, call);
		add(&urls.running, call);
	}
}

/* A server that is not well, or a proxy before one that is not there, says nothing of the client.
 */
static enum verdict verdict_of(const struct fetch_answer *answer)
{
	json_t *json;
	bool allow;

	if (answer->problem || answer->status / 100 == 5 || answer->status == 429)
		return VERDICT_NOBODY;
	if (answer->status != 200)
		return VERDICT_NO;
	json = json_loadb(answer->body, answer->len, JSON_DISABLE_EOF_CHECK, NULL);
	allow = json_is_true(json_object_get(json, "Allow"));
	json_decref(json);
	return allow ? VERDICT_YES : VERDICT_NO;
}

/* Else nobody would know why clients are sent away. With 403 some say no to one of them. */
static void complain(const struct fetch_answer *answer)
{
	uint64_t now = core_now();

	if (!answer->problem && (answer->status == 200 || answer->status == 403))
		return;
	if (urls.complained && now - urls.complained < COMPLAIN_EVERY)
		return;
	urls.complained = now;
	if (answer->problem)
		log_warnx("derp.verify_client_url: %s", answer->problem);
	else
		log_warnx("derp.verify_client_url answers with status %ld, which is not a yes",
			answer->status);
}

static void answered(void *arg, const struct fetch_answer *answer)
{
	struct url_call call = *(struct url_call *)arg;

	complain(answer);
	call_free(&urls.running, arg);
	call.done(call.arg, verdict_of(answer));
	begin_some();
}

/* ---- life ---------------------------------------------------------------------------------- */

struct url_call *verify_url_ask(const char *url, const struct public_key *key,
	const struct net_addr *from, void (*done)(void *arg, enum verdict verdict), void *arg)
{
	struct url_call *call = urls.waiting.n < WAITING_MAX ? calloc(1, sizeof(*call)) : NULL;

	if (!call)
		return NULL;
	call->url = strdup(url);
	if (!call->url) {
		free(call);
		return NULL;
	}
	call->key = *key;
	call->from = *from;
	call->done = done;
	call->arg = arg;
	add(&urls.waiting, call);
	begin_some();
	return call;
}

int verify_url_start(struct err *err)
{
	urls.running.tail = &urls.running.head;
	urls.waiting.tail = &urls.waiting.head;
	urls.fetcher = fetcher_new();
	return urls.fetcher ? 0 : err_set(err, -ENOMEM, "libcurl cannot start");
}

void verify_url_stop(void)
{
	fetcher_free(urls.fetcher);
	while (urls.waiting.head)
		call_free(&urls.waiting, urls.waiting.head);
	while (urls.running.head)
		call_free(&urls.running, urls.running.head);
	memset(&urls, 0, sizeof(urls));
}
