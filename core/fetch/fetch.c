/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>
#include <openssl/ssl.h>
#include <tailplane/loop.h>

#include "authorities.h"

struct fetcher {
	CURLM *multi;
	struct curl_slist *json; /* header fields of a POST */
	struct fetch *fetches;
	struct authorities authorities;
	ev_timer timer;
	bool looking, freed; /* who looks frees it then */
};

struct fetch {
	struct fetch *next, **prev;
	struct fetcher *fetcher;
	CURL *easy;
	struct curl_slist *connect_to;
	X509_STORE *store; /* that it trusts; NULL: none of ours */
	fetch_done_fn done;
	void *arg;
	char *body, problem[CURL_ERROR_SIZE];
	size_t len, max;
	bool trusts, waits; /* for authorities */
	bool too_long;
};

struct watch {
	ev_io io;
	struct fetcher *fetcher;
};

/* ---- ends ---------------------------------------------------------------------------------- */

/* The fetcher no longer knows of it. */
static void detach(struct fetch *fetch)
{
	*fetch->prev = fetch->next;
	if (fetch->next)
		fetch->next->prev = fetch->prev;
	curl_multi_remove_handle(fetch->fetcher->multi, fetch->easy);
	curl_easy_cleanup(fetch->easy);
	curl_slist_free_all(fetch->connect_to);
	X509_STORE_free(fetch->store);
}

static void fetch_free(struct fetch *fetch)
{
	free(fetch->body);
	free(fetch);
}

void fetch_cancel(struct fetch *fetch)
{
	detach(fetch);
	fetch_free(fetch);
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

static const char *problem_of(const struct fetch *fetch, CURLcode code)
{
	if (fetch->too_long)
		return "the answer is too long";
	if (code && fetch->problem[0])
		return fetch->problem;
	return code ? curl_easy_strerror(code) : NULL;
}

static struct fetch_answer answer_of(struct fetch *fetch, CURLcode code)
{
	struct fetch_answer answer = {.problem = problem_of(fetch, code),
		.distrusted = code == CURLE_PEER_FAILED_VERIFICATION,
		.expires = certificate_ends(fetch->easy)};
	struct curl_header *header;
	const char *address = NULL;

	if (!answer.problem) {
		answer.body = fetch->body ? fetch->body : "";
		answer.len = fetch->len;
	}
	curl_easy_getinfo(fetch->easy, CURLINFO_RESPONSE_CODE, &answer.status);
	curl_easy_getinfo(fetch->easy, CURLINFO_PRIMARY_IP, &address);
	snprintf(answer.address, sizeof(answer.address), "%s", address ? address : "");
	if (!curl_easy_header(fetch->easy, "Date", 0, CURLH_HEADER, -1, &header))
		answer.date = curl_getdate(header->value, NULL);
	return answer;
}

static void finish(struct fetch *fetch, CURLcode code)
{
	struct fetch_answer answer = answer_of(fetch, code);

	detach(fetch);
	fetch->done(fetch->arg, &answer);
	fetch_free(fetch);
}

/* Each `done` may start and cancel others, and free the fetcher. */
static void look(struct fetcher *fetcher)
{
	CURLMsg *message;
	int left;

	fetcher->looking = true;
	while ((message = curl_multi_info_read(fetcher->multi, &left))) {
		struct fetch *fetch;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&fetch);
		finish(fetch, message->data.result);
	}
	fetcher->looking = false;
	if (fetcher->freed)
		fetcher_free(fetcher);
}

/* ---- libcurl on the loop ------------------------------------------------------------------- */

LOOP_CALLBACK(fetch_ready, ev_io)
{
	struct fetcher *fetcher = ((struct watch *)watcher)->fetcher;
	int running, events = 0;

	(void)loop;
	if (revents & EV_READ)
		events |= CURL_CSELECT_IN;
	if (revents & EV_WRITE)
		events |= CURL_CSELECT_OUT;
	curl_multi_socket_action(fetcher->multi, watcher->fd, events, &running);
	look(fetcher);
}

LOOP_CALLBACK(fetch_timer, ev_timer)
{
	struct fetcher *fetcher = watcher->data;
	int running;

	(void)loop, (void)revents;
	curl_multi_socket_action(fetcher->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	look(fetcher);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct fetcher *fetcher = arg;
	struct watch *watch = socket_arg;
	int events = (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0);

	(void)easy;
	if (watch)
		ev_io_stop(core_loop(), &watch->io);
	if (what == CURL_POLL_REMOVE) {
		free(watch);
		curl_multi_assign(fetcher->multi, fd, NULL);
		return 0;
	}
	if (!watch) {
		watch = calloc(1, sizeof(*watch));
		if (!watch)
			return -1;
		watch->fetcher = fetcher;
		curl_multi_assign(fetcher->multi, fd, watch);
	}
	ev_io_init(&watch->io, fetch_ready, fd, events);
	ev_io_start(core_loop(), &watch->io);
	return 0;
}

static int on_timer(CURLM *multi, long ms, void *arg)
{
	struct fetcher *fetcher = arg;

	(void)multi;
	ev_timer_stop(core_loop(), &fetcher->timer);
	if (ms < 0)
		return 0;
	ev_timer_set(&fetcher->timer, (double)ms * 1e-3, 0.);
	ev_timer_start(core_loop(), &fetcher->timer);
	return 0;
}

static void begin(struct fetch *fetch);

static void begin_waiting(void *arg)
{
	struct fetcher *fetcher = arg;

	for (struct fetch *fetch = fetcher->fetches; fetch; fetch = fetch->next)
		if (fetch->waits)
			begin(fetch);
}

struct fetcher *fetcher_new(void)
{
	struct fetcher *fetcher = calloc(1, sizeof(*fetcher));

	if (!fetcher)
		return NULL;
	ev_timer_init(&fetcher->timer, fetch_timer, 0., 0.);
	fetcher->timer.data = fetcher;
	authorities_init(&fetcher->authorities, begin_waiting, fetcher);
	fetcher->multi = curl_multi_init();
	fetcher->json = curl_slist_append(NULL, "Content-Type: application/json");
	if (!fetcher->multi || !fetcher->json) {
		fetcher_free(fetcher);
		return NULL;
	}
	curl_multi_setopt(fetcher->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(fetcher->multi, CURLMOPT_SOCKETDATA, fetcher);
	curl_multi_setopt(fetcher->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(fetcher->multi, CURLMOPT_TIMERDATA, fetcher);
	return fetcher;
}

void fetcher_free(struct fetcher *fetcher)
{
	while (fetcher->fetches)
		fetch_cancel(fetcher->fetches);
	fetcher->freed = true;
	if (fetcher->looking)
		return;
	if (fetcher->multi)
		curl_multi_cleanup(fetcher->multi);
	curl_slist_free_all(fetcher->json);
	ev_timer_stop(core_loop(), &fetcher->timer);
	authorities_fini(&fetcher->authorities);
	free(fetcher);
}

/* ---- a request ----------------------------------------------------------------------------- */

static size_t on_body(char *bytes, size_t one, size_t n, void *arg)
{
	struct fetch *fetch = arg;
	char *body;

	(void)one;
	if (n > fetch->max - fetch->len) {
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

static void set_transfer(struct fetch *fetch, const struct fetch_request *request)
{
	CURL *easy = fetch->easy;

	/* a look-up that goes on is left behind when we stop, not waited for */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1l);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1l);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "tailplane");
	curl_easy_setopt(easy, CURLOPT_URL, request->url);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, (long)request->follow);
	curl_easy_setopt(easy, CURLOPT_MAXREDIRS, 5l);
	curl_easy_setopt(easy, CURLOPT_FAILONERROR, (long)!request->any_status);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, request->timeout_ms);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, fetch->problem);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, fetch);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, fetch);
	if (!request->json)
		return;
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, fetch->fetcher->json);
	curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, request->json);
}

static void set_connection(struct fetch *fetch, const struct fetch_request *request)
{
	CURL *easy = fetch->easy;

	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, (long)!request->keep);
	curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, (long)!request->keep);
	curl_easy_setopt(easy, CURLOPT_CONNECT_TO, fetch->connect_to);
	if (request->no_proxy)
		curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, (long)!request->untrusted);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, request->untrusted ? 0l : 2l);
	curl_easy_setopt(easy, CURLOPT_CERTINFO, (long)request->expiry);
}

/* For whatever host and port. */
static struct curl_slist *redirected(const char *address)
{
	char text[80];

	snprintf(text, sizeof(text), strchr(address, ':') ? "::[%s]:" : "::%s:", address);
	return curl_slist_append(NULL, text);
}

static struct fetch *fetch_new(struct fetcher *fetcher, const struct fetch_request *request)
{
	struct fetch *fetch = calloc(1, sizeof(*fetch));

	if (!fetch)
		return NULL;
	fetch->fetcher = fetcher;
	fetch->max = request->max;
	fetch->trusts =
		!request->untrusted && (request->follow || !strncasecmp(request->url, "https:", 6));
	fetch->easy = curl_easy_init();
	if (request->connect_to)
		fetch->connect_to = redirected(request->connect_to);
	if (!fetch->easy || (request->connect_to && !fetch->connect_to)) {
		curl_easy_cleanup(fetch->easy);
		curl_slist_free_all(fetch->connect_to);
		free(fetch);
		return NULL;
	}
	return fetch;
}

static CURLcode trust(CURL *easy, void *ctx, void *arg)
{
	(void)easy;
	SSL_CTX_set1_cert_store(ctx, arg);
	return CURLE_OK;
}

/* Where authorities cannot be read libcurl tries itself, and tells why. */
static void set_authorities(struct fetch *fetch)
{
	X509_STORE *store = fetch->fetcher->authorities.store;
	const char *file = getenv("SSL_CERT_FILE");

	if (!store) {
		if (file)
			curl_easy_setopt(fetch->easy, CURLOPT_CAINFO, file);
		return;
	}
	X509_STORE_up_ref(store);
	fetch->store = store;
	curl_easy_setopt(fetch->easy, CURLOPT_CAINFO, NULL);
	curl_easy_setopt(fetch->easy, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(fetch->easy, CURLOPT_SSL_CTX_FUNCTION, trust);
	curl_easy_setopt(fetch->easy, CURLOPT_SSL_CTX_DATA, store);
}

static void begin(struct fetch *fetch)
{
	fetch->waits = false;
	if (fetch->trusts)
		set_authorities(fetch);
	/* calls on_timer with 0: the rest happens on the loop */
	curl_multi_add_handle(fetch->fetcher->multi, fetch->easy);
}

struct fetch *fetch_start(
	struct fetcher *fetcher, const struct fetch_request *request, fetch_done_fn done, void *arg)
{
	struct fetch *fetch = fetch_new(fetcher, request);

	if (!fetch)
		return NULL;
	fetch->done = done;
	fetch->arg = arg;
	fetch->next = fetcher->fetches;
	fetch->prev = &fetcher->fetches;
	if (fetch->next)
		fetch->next->prev = &fetch->next;
	fetcher->fetches = fetch;
	set_transfer(fetch, request);
	set_connection(fetch, request);
	fetch->waits = fetch->trusts && !authorities_fresh(&fetcher->authorities);
	if (!fetch->waits)
		begin(fetch);
	return fetch;
}
