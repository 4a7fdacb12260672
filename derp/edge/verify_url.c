/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. Names are resolved by libcurl's own threads. */
#include "verify_url.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>
#include <jansson.h>
#include <tailplane/loop.h>

#define TIMEOUT_S 5l
#define ANSWER_MAX 4096
#define AT_ONCE 64
#define WAITING_MAX 8192

struct url_call {
	struct url_call *next, **prev; /* of those that run, or wait */
	CURL *easy;                    /* NULL: it waits */
	char *url;
	struct public_key key;
	struct net_addr from;
	void (*done)(void *arg, enum verdict verdict);
	void *arg;
	char answer[ANSWER_MAX + 1];
	size_t len;
};

struct watch {
	ev_io io;
};

struct calls {
	struct url_call *head, **tail;
	unsigned n;
};

static struct {
	CURLM *multi;
	struct curl_slist *fields;
	ev_timer timer;
	struct calls running, waiting;
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

static void call_free(struct url_call *call)
{
	take_out(call->easy ? &urls.running : &urls.waiting, call);
	if (call->easy) {
		curl_multi_remove_handle(urls.multi, call->easy);
		curl_easy_cleanup(call->easy);
	}
	free(call->url);
	free(call);
}

/* ---- one call ------------------------------------------------------------------------------ */

static size_t on_body(char *bytes, size_t one, size_t n, void *arg)
{
	struct url_call *call = arg;

	(void)one;
	if (call->len + n > ANSWER_MAX)
		return 0;
	memcpy(call->answer + call->len, bytes, n);
	call->len += n;
	return n;
}

static void body_of(const struct url_call *call, char *body, size_t size)
{
	char address[NET_ADDR_STRLEN] = "", hex[65];

	for (unsigned i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", call->key.bytes[i]);
	if (call->from.family)
		net_addr_format(&call->from, address);
	snprintf(body, size, "{\"NodePublic\":\"nodekey:%s\",\"Source\":\"%s\"}", hex, address);
}

static void begin(struct url_call *call)
{
	const char *authorities = getenv("SSL_CERT_FILE");
	char body[256];

	take_out(&urls.waiting, call);
	call->easy = curl_easy_init();
	if (!call->easy)
		abort();
	add(&urls.running, call);
	body_of(call, body, sizeof(body));
	curl_easy_setopt(call->easy, CURLOPT_URL, call->url);
	curl_easy_setopt(call->easy, CURLOPT_QUICK_EXIT, 1l);
	curl_easy_setopt(call->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(call->easy, CURLOPT_NOSIGNAL, 1l);
	curl_easy_setopt(call->easy, CURLOPT_TIMEOUT, TIMEOUT_S);
	curl_easy_setopt(call->easy, CURLOPT_USERAGENT, "tailplane");
	curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, urls.fields);
	curl_easy_setopt(call->easy, CURLOPT_COPYPOSTFIELDS, body);
	curl_easy_setopt(call->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(call->easy, CURLOPT_WRITEDATA, call);
	curl_easy_setopt(call->easy, CURLOPT_PRIVATE, call);
	if (authorities)
		curl_easy_setopt(call->easy, CURLOPT_CAINFO, authorities);
	curl_multi_add_handle(urls.multi, call->easy);
}

static void begin_some(void)
{
	while (urls.waiting.head && urls.running.n < AT_ONCE)
		begin(urls.waiting.head);
}

/* A server that is not well, or a proxy before one that is not there, says nothing of the client.
 */
static enum verdict verdict_of(const struct url_call *call, CURLcode code)
{
	long status = 0;
	json_t *answer;
	bool allow;

	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	if (code != CURLE_OK || status / 100 == 5 || status == 429)
		return VERDICT_NOBODY;
	if (status != 200)
		return VERDICT_NO;
	answer = json_loadb(call->answer, call->len, JSON_DISABLE_EOF_CHECK, NULL);
	allow = json_is_true(json_object_get(answer, "Allow"));
	json_decref(answer);
	return allow ? VERDICT_YES : VERDICT_NO;
}

static void look(void)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(urls.multi, &left))) {
		struct url_call *call;
		void (*done)(void *arg, enum verdict verdict);
		enum verdict verdict;
		void *arg;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call);
		verdict = verdict_of(call, message->data.result);
		done = call->done;
		arg = call->arg;
		call_free(call);
		done(arg, verdict);
	}
	begin_some();
}

/* ---- libcurl on the loop ------------------------------------------------------------------- */

LOOP_CALLBACK(verify_url_ready, ev_io)
{
	int running, events = 0;

	(void)loop;
	if (revents & EV_READ)
		events |= CURL_CSELECT_IN;
	if (revents & EV_WRITE)
		events |= CURL_CSELECT_OUT;
	curl_multi_socket_action(urls.multi, watcher->fd, events, &running);
	look();
}

LOOP_CALLBACK(verify_url_timer, ev_timer)
{
	int running;

	(void)loop, (void)watcher, (void)revents;
	curl_multi_socket_action(urls.multi, CURL_SOCKET_TIMEOUT, 0, &running);
	look();
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct watch *watch = socket_arg;
	int events = (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0);

	(void)easy, (void)arg;
	if (watch)
		ev_io_stop(core_loop(), &watch->io);
	if (what == CURL_POLL_REMOVE) {
		free(watch);
		curl_multi_assign(urls.multi, fd, NULL);
		return 0;
	}
	if (!watch) {
		watch = calloc(1, sizeof(*watch));
		if (!watch)
			return -1;
		curl_multi_assign(urls.multi, fd, watch);
	}
	ev_io_init(&watch->io, verify_url_ready, fd, events);
	ev_io_start(core_loop(), &watch->io);
	return 0;
}

static int on_timer(CURLM *multi, long ms, void *arg)
{
	(void)multi, (void)arg;
	ev_timer_stop(core_loop(), &urls.timer);
	if (ms < 0)
		return 0;
	ev_timer_set(&urls.timer, (double)ms * 1e-3, 0.);
	ev_timer_start(core_loop(), &urls.timer);
	return 0;
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
	urls.multi = curl_multi_init();
	urls.fields = curl_slist_append(NULL, "Content-Type: application/json");
	urls.running.tail = &urls.running.head;
	urls.waiting.tail = &urls.waiting.head;
	ev_timer_init(&urls.timer, verify_url_timer, 0., 0.);
	if (!urls.multi || !urls.fields) {
		verify_url_stop();
		return err_set(err, -ENOMEM, "libcurl cannot start");
	}
	curl_multi_setopt(urls.multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(urls.multi, CURLMOPT_TIMERFUNCTION, on_timer);
	return 0;
}

void verify_url_stop(void)
{
	while (urls.waiting.head)
		call_free(urls.waiting.head);
	while (urls.running.head)
		call_free(urls.running.head);
	if (urls.multi)
		curl_multi_cleanup(urls.multi);
	curl_slist_free_all(urls.fields);
	ev_timer_stop(core_loop(), &urls.timer);
	memset(&urls, 0, sizeof(urls));
}
