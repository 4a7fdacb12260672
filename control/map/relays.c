/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "relays.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/log.h>
#include <tailplane/loop.h>
#include <tailplane/plugin.h>
#include <tailplane/relay.h>
#include <tailplane/state.h>

#include "derp_map.h"
#include "fetch.h"

#define PUBLIC_MAP "https://controlplane.tailscale.com/derpmap/default"
#define CACHE "derp-maps.json" /* what the URLs said last, merged */
#define FETCH_MS 30000
/* A fetch that failed is tried again sooner than the next one is due. */
#define RETRY_FIRST_S 5.
#define RETRY_MAX_S 600.

struct relays {
	const struct control_conf *conf;
	void (*changed)(void *arg);
	void *arg;
	json_t *fetched; /* regions of the URLs */
	json_t *coming;  /* of the round under way; NULL: none */
	bool failed;     /* something in that round */
	bool flawed;     /* a region in it was left out */
	size_t url;      /* that is being fetched */
	struct fetcher *fetcher;
	char *json;
	size_t n;
	double retry;
	char host[256];   /* of the server */
	bool look_queued; /* the own relay changed while a round was under way */
	char problem[768];
	ev_timer timer;
};

static const char *const public_urls[] = {PUBLIC_MAP};

/* The relay in this process, where it belongs into the map. */
static const struct relay_ops *own_relay(const struct relays *r)
{
	const struct control_conf *conf = r->conf;

	if (!conf->derp.server.enabled || !conf->derp.server.automatically_add_embedded_derp_region)
		return NULL;
	return core_service(RELAY_SERVICE);
}

static size_t n_urls(const struct relays *r)
{
	if (!r->conf->derp.urls.count && !r->conf->derp.paths.count && !own_relay(r))
		return 1;
	return r->conf->derp.urls.count;
}

static const char *url_at(const struct relays *r, size_t i)
{
	return r->conf->derp.urls.count ? ((char **)r->conf->derp.urls.items)[i] : public_urls[i];
}

/* `where` NULL: `why` names it. */
static void complain(struct relays *r, const char *where, const char *why)
{
	snprintf(r->problem, sizeof(r->problem), "%s%s%s", where ? where : "", where ? ": " : "",
		why);
	log_warnx("relays: %s", r->problem);
}

static void merge(
	struct relays *r, json_t *regions, const char *where, const char *text, size_t len)
{
	struct err err = {0};

	if (derp_map_merge(regions, text, len, &err) || err.msg[0])
		complain(r, where, err.msg);
}

static void merge_file(struct relays *r, json_t *regions, const char *path)
{
	char *full = state_path(path), *text = malloc(DERP_MAP_MAX);
	struct err err = {0};
	ssize_t len = full && text ? state_read(full, text, DERP_MAP_MAX, &err) : -ENOMEM;

	if (len < 0)
		complain(r, err.msg[0] ? NULL : path, err.msg[0] ? err.msg : strerror((int)-len));
	else
		merge(r, regions, path, text, (size_t)len);
	free(full);
	free(text);
}

static void merge_own(struct relays *r, json_t *regions)
{
	const struct relay_ops *relay = own_relay(r);
	struct err err = {0};
	json_t *region = relay ? relay->region(r->host, &err) : NULL;
	char number[24];

	if (!relay)
		return;
	if (!region) {
		complain(r, "our own relay", err.msg);
		return;
	}
	snprintf(number, sizeof(number), "%lld",
		(long long)json_integer_value(json_object_get(region, "RegionID")));
	json_object_set_new(regions, number, region);
}

/* From what is known now; tells when that differs. */
static void assemble(struct relays *r)
{
	json_t *regions = json_copy(r->fetched);
	char *json;
	bool differs;

	for (size_t i = 0; i < r->conf->derp.paths.count; i++)
		merge_file(r, regions, ((char **)r->conf->derp.paths.items)[i]);
	merge_own(r, regions);
	json = derp_map_text(regions);
	differs = !json != !r->json || (json && strcmp(json, r->json));
	r->n = json_object_size(regions);
	json_decref(regions);
	free(r->json);
	r->json = json;
	if (differs)
		r->changed(r->arg);
}

/* ---- URLs ---------------------------------------------------------------------------------- */

static void fetch_next(struct relays *r);

static void again_in(struct relays *r, double seconds)
{
	ev_timer_stop(core_loop(), &r->timer);
	ev_timer_set(&r->timer, seconds, 0.);
	ev_timer_start(core_loop(), &r->timer);
}

static void cache_write(const struct relays *r)
{
	char *text = derp_map_text(r->fetched), *path = state_path(CACHE);

	if (text && path)
		state_write_later(path, text, strlen(text), 0644, NULL, NULL);
	free(path);
	free(text);
}

static void round_over(struct relays *r)
{
	if (!r->failed) {
		json_decref(r->fetched);
		r->fetched = r->coming;
		if (!r->flawed)
			r->problem[0] = 0;
		r->retry = RETRY_FIRST_S;
		if (n_urls(r))
			cache_write(r);
	} else {
		json_decref(r->coming);
	}
	r->coming = NULL;
	assemble(r);
	if (r->look_queued) {
		r->look_queued = false;
		again_in(r, 0.);
		return;
	}
	if (!r->json)
		log_warnx(
			"relays: no relay is known: clients will wait in state \"Starting\" until "
			"one is; set control.derp.paths or control.derp.urls");
	if (r->failed) {
		again_in(r, r->retry);
		r->retry = 2 * r->retry > RETRY_MAX_S ? RETRY_MAX_S : 2 * r->retry;
	} else if (r->conf->derp.auto_update_enabled) {
		again_in(r, (double)r->conf->derp.update_frequency * 1e-9);
	}
}

static void fetched(void *arg, const struct fetch_answer *answer)
{
	struct relays *r = arg;
	struct err err = {0};

	if (answer->problem) {
		r->failed = true;
		complain(r, url_at(r, r->url), answer->problem);
	} else {
		r->failed |= derp_map_merge(r->coming, answer->body, answer->len, &err) != 0;
		r->flawed |= err.msg[0];
		if (err.msg[0])
			complain(r, url_at(r, r->url), err.msg);
	}
	r->url++;
	fetch_next(r);
}

static void fetch_next(struct relays *r)
{
	struct fetch_request request = {
		.max = DERP_MAP_MAX, .timeout_ms = FETCH_MS, .follow = true};

	if (r->url < n_urls(r))
		request.url = url_at(r, r->url);
	if (!request.url || !fetch_start(r->fetcher, &request, fetched, r))
		round_over(r);
}

static void round_begin(struct relays *r)
{
	r->failed = r->flawed = false;
	r->url = 0;
	r->coming = json_object();
	fetch_next(r);
}

LOOP_CALLBACK(relays_timer, ev_timer)
{
	(void)loop, (void)revents;
	round_begin(watcher->data);
}

/* ---- life ---------------------------------------------------------------------------------- */

static void cache_read(struct relays *r)
{
	char *path = state_path(CACHE), *text = malloc(DERP_MAP_MAX);
	struct err err = {0};
	ssize_t len = path && text ? state_read(path, text, DERP_MAP_MAX, &err) : -1;

	if (len > 0)
		derp_map_merge(r->fetched, text, (size_t)len, &err);
	free(path);
	free(text);
}

/* What stands between "://" and the port or the path, without brackets. */
static void host_of(char *host, size_t size, const char *url)
{
	const char *at = strstr(url, "://");
	size_t len;

	at = at ? at + 3 : url;
	if (*at == '[') {
		at++;
		len = strcspn(at, "]");
	} else {
		len = strcspn(at, ":/");
	}
	snprintf(host, size, "%.*s", (int)len, at);
}

struct relays *relays_start(
	const struct control_conf *conf, const char *url, void (*changed)(void *arg), void *arg)
{
	struct relays *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	*r = (struct relays){.conf = conf, .changed = changed, .arg = arg, .retry = RETRY_FIRST_S};
	r->fetcher = fetcher_new();
	if (!r->fetcher) {
		free(r);
		return NULL;
	}
	r->fetched = json_object();
	host_of(r->host, sizeof(r->host), url);
	ev_timer_init(&r->timer, relays_timer, 0., 0.);
	r->timer.data = r;
	if (n_urls(r))
		cache_read(r);
	if (json_object_size(r->fetched) || conf->derp.paths.count || own_relay(r))
		assemble(r);
	again_in(r, 0.);
	return r;
}

void relays_stop(struct relays *r)
{
	fetcher_free(r->fetcher);
	ev_timer_stop(core_loop(), &r->timer);
	json_decref(r->fetched);
	json_decref(r->coming);
	free(r->json);
	free(r);
}

void relays_look(struct relays *r)
{
	if (r->coming)
		r->look_queued = true;
	else
		again_in(r, 0.);
}

const char *relays_json(const struct relays *r)
{
	return r->json;
}

size_t relays_count(const struct relays *r)
{
	return r->n;
}

const char *relays_problem(const struct relays *r)
{
	return r->problem[0] ? r->problem : NULL;
}
