/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. Names are resolved by libcurl's own threads. */
#include "fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>
#include <tailplane/loop.h>

#define TIMEOUT_S 30l
#define LOOK_MAX 65536

struct fetch {
	CURL *easy;
	CURLM *multi;
	ev_timer timer;
	fetch_done_fn done;
	void *arg;
	char *body, problem[CURL_ERROR_SIZE];
	size_t len, max;
	bool too_long;
	CURLcode code;
	struct curl_slist *connect_to;
};

struct watch {
	ev_io io;
	struct fetch *fetch;
};

static void finish(struct fetch *fetch, CURLcode code)
{
	const char *why = fetch->problem[0] ? fetch->problem : curl_easy_strerror(code);

	fetch->code = code;
	if (fetch->too_long)
		why = "the answer is too long";
	fetch->done(fetch->arg, code ? NULL : fetch->body ? fetch->body : "", fetch->len, why);
	fetch_cancel(fetch);
}

static void look(struct fetch *fetch)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(fetch->multi, &left)))
		if (message->msg == CURLMSG_DONE) {
			finish(fetch, message->data.result);
			return;
		}
}

LOOP_CALLBACK(fetch_ready, ev_io)
{
	struct watch *watch = (struct watch *)watcher;
	struct fetch *fetch = watch->fetch;
	int running, events = 0;

	(void)loop;
	if (revents & EV_READ)
		events |= CURL_CSELECT_IN;
	if (revents & EV_WRITE)
		events |= CURL_CSELECT_OUT;
	curl_multi_socket_action(fetch->multi, watcher->fd, events, &running);
	look(fetch);
}

LOOP_CALLBACK(fetch_timer, ev_timer)
{
	struct fetch *fetch = watcher->data;
	int running;

	(void)loop, (void)revents;
	curl_multi_socket_action(fetch->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	look(fetch);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct fetch *fetch = arg;
	struct watch *watch = socket_arg;
	int events = (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0);

	(void)easy;
	if (watch)
		ev_io_stop(core_loop(), &watch->io);
	if (what == CURL_POLL_REMOVE) {
		free(watch);
		curl_multi_assign(fetch->multi, fd, NULL);
		return 0;
	}
	if (!watch) {
		watch = calloc(1, sizeof(*watch));
		if (!watch)
			return -1;
		watch->fetch = fetch;
		curl_multi_assign(fetch->multi, fd, watch);
	}
	ev_io_init(&watch->io, fetch_ready, fd, events);
	ev_io_start(core_loop(), &watch->io);
	return 0;
}

static int on_timer(CURLM *multi, long ms, void *arg)
{
	struct fetch *fetch = arg;

	(void)multi;
	ev_timer_stop(core_loop(), &fetch->timer);
	if (ms < 0)
		return 0;
	ev_timer_set(&fetch->timer, (double)ms * 1e-3, 0.);
	ev_timer_start(core_loop(), &fetch->timer);
	return 0;
}

static size_t on_body(char *bytes, size_t one, size_t n, void *arg)
{
	struct fetch *fetch = arg;
	char *body;

	(void)one;
	if (fetch->len + n > fetch->max) {
		fetch->too_long = true;
		return 0;
	}
	body = realloc(fetch->body, fetch->len + n + 1);
	if (!body)
		return 0;
	fetch->body = body;
	memcpy(body + fetch->len, bytes, n);
	fetch->len += n;
	body[fetch->len] = 0;
	return n;
}

static void options(struct fetch *fetch, const char *url)
{
	const char *authorities = getenv("SSL_CERT_FILE");

	/* a look-up that goes on is left behind when we stop, not waited for */
	curl_easy_setopt(fetch->easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(fetch->easy, CURLOPT_URL, url);
	curl_easy_setopt(fetch->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(fetch->easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(fetch->easy, CURLOPT_FOLLOWLOCATION, 1l);
	curl_easy_setopt(fetch->easy, CURLOPT_MAXREDIRS, 5l);
	curl_easy_setopt(fetch->easy, CURLOPT_FAILONERROR, 1l);
	curl_easy_setopt(fetch->easy, CURLOPT_NOSIGNAL, 1l);
	curl_easy_setopt(fetch->easy, CURLOPT_TIMEOUT, TIMEOUT_S);
	/* as the clients' own library has it */
	if (authorities)
		curl_easy_setopt(fetch->easy, CURLOPT_CAINFO, authorities);
	curl_easy_setopt(fetch->easy, CURLOPT_USERAGENT, "tailplane");
	curl_easy_setopt(fetch->easy, CURLOPT_ERRORBUFFER, fetch->problem);
	curl_easy_setopt(fetch->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(fetch->easy, CURLOPT_WRITEDATA, fetch);
	curl_multi_setopt(fetch->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(fetch->multi, CURLMOPT_SOCKETDATA, fetch);
	curl_multi_setopt(fetch->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(fetch->multi, CURLMOPT_TIMERDATA, fetch);
}

static struct fetch *fetch_new(const char *url, size_t max, fetch_done_fn done, void *arg)
{
	struct fetch *fetch = calloc(1, sizeof(*fetch));

	if (!fetch)
		return NULL;
	fetch->easy = curl_easy_init();
	fetch->multi = curl_multi_init();
	fetch->max = max;
	fetch->done = done;
	fetch->arg = arg;
	ev_timer_init(&fetch->timer, fetch_timer, 0., 0.);
	fetch->timer.data = fetch;
	if (!fetch->easy || !fetch->multi) {
		fetch_cancel(fetch);
		return NULL;
	}
	options(fetch, url);
	return fetch;
}

struct fetch *fetch_start(const char *url, size_t max, fetch_done_fn done, void *arg)
{
	struct fetch *fetch = fetch_new(url, max, done, arg);

	/* calls on_timer with 0: the rest happens on the loop */
	if (fetch)
		curl_multi_add_handle(fetch->multi, fetch->easy);
	return fetch;
}

static bool redirect(struct fetch *fetch, const char *address)
{
	char text[80];

	snprintf(text, sizeof(text), strchr(address, ':') ? "::[%s]:" : "::%s:", address);
	fetch->connect_to = curl_slist_append(NULL, text);
	curl_easy_setopt(fetch->easy, CURLOPT_CONNECT_TO, fetch->connect_to);
	return fetch->connect_to;
}

struct fetch *fetch_look(const struct fetch_look *look, fetch_done_fn done, void *arg)
{
	struct fetch *fetch = fetch_new(look->url, LOOK_MAX, done, arg);

	if (!fetch)
		return NULL;
	if (look->connect_to && !redirect(fetch, look->connect_to)) {
		fetch_cancel(fetch);
		return NULL;
	}
	curl_easy_setopt(fetch->easy, CURLOPT_FAILONERROR, 0l);
	curl_easy_setopt(fetch->easy, CURLOPT_FOLLOWLOCATION, 0l);
	curl_easy_setopt(fetch->easy, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(fetch->easy, CURLOPT_CERTINFO, 1l);
	curl_easy_setopt(fetch->easy, CURLOPT_TIMEOUT_MS, look->timeout_ms);
	if (look->untrusted) {
		curl_easy_setopt(fetch->easy, CURLOPT_SSL_VERIFYPEER, 0l);
		curl_easy_setopt(fetch->easy, CURLOPT_SSL_VERIFYHOST, 0l);
	}
	curl_multi_add_handle(fetch->multi, fetch->easy);
	return fetch;
}

/* Of the leaf, which comes first. */
static int64_t certificate_ends(CURL *easy)
{
	static const char title[] = "Expire date:";
	struct curl_certinfo *info = NULL;

	if (curl_easy_getinfo(easy, CURLINFO_CERTINFO, &info) || !info || !info->num_of_certs)
		return 0;
	for (const struct curl_slist *at = info->certinfo[0]; at; at = at->next)
		if (!strncmp(at->data, title, sizeof(title) - 1))
			return curl_getdate(at->data + sizeof(title) - 1, NULL);
	return 0;
}

void fetch_seen(const struct fetch *fetch, struct fetch_seen *seen)
{
	struct curl_header *header;
	const char *address = NULL;

	*seen = (struct fetch_seen){.distrusted = fetch->code == CURLE_PEER_FAILED_VERIFICATION};
	curl_easy_getinfo(fetch->easy, CURLINFO_RESPONSE_CODE, &seen->status);
	curl_easy_getinfo(fetch->easy, CURLINFO_PRIMARY_IP, &address);
	snprintf(seen->address, sizeof(seen->address), "%s", address ? address : "");
	seen->expires = certificate_ends(fetch->easy);
	if (!curl_easy_header(fetch->easy, "Date", 0, CURLH_HEADER, -1, &header))
		seen->date = curl_getdate(header->value, NULL);
}

void fetch_cancel(struct fetch *fetch)
{
	if (fetch->easy && fetch->multi)
		curl_multi_remove_handle(fetch->multi, fetch->easy);
	if (fetch->easy)
		curl_easy_cleanup(fetch->easy);
	if (fetch->multi)
		curl_multi_cleanup(fetch->multi);
	curl_slist_free_all(fetch->connect_to);
	ev_timer_stop(core_loop(), &fetch->timer);
	free(fetch->body);
	free(fetch);
}
