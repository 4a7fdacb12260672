/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop; certificates are made by jobs, but for the first. */
#include "place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/front.h>
#include <tailplane/jobs.h>
#include <tailplane/log.h>
#include <tailplane/loop.h>
#include <tailplane/state.h>

#include "certificate.h"
#include "stun.h"
#include "stun_server.h"

#define CERT "derp-tls.crt"
#define KEY "derp-tls.key"
#define LOOK_EVERY 3600.
#define HTTPS 443
#define HOST_SIZE (CERTIFICATE_HOST_MAX + 1)

/* One making of the certificate. */
struct making {
	struct job job;
	char host[HOST_SIZE];
	struct certificate cert;
	struct err err;
	int rc;
};

static struct {
	const struct derp_conf *conf;
	void (*changed)(void);
	struct front_own *own; /* NULL: core.http's listeners are all */
	char *cert_path, *key_path;
	char host[HOST_SIZE];  /* that the certificate is for; "": not asked yet */
	char asked[HOST_SIZE]; /* what the control server calls this machine; "": it has not said */
	struct certificate cert;
	struct making *making;
	ev_timer look;
} place;

/* ---- the certificate ----------------------------------------------------------------------- */

static void make_run(struct job *job)
{
	struct making *making = (struct making *)job;

	making->rc = certificate_ensure(place.cert_path, place.key_path, making->host, time(NULL),
		&making->cert, &making->err);
}

static void make_done(struct job *job)
{
	struct making *making = (struct making *)job;
	struct err err = {0};

	place.making = NULL;
	if (making->rc) {
		log_warnx("relay: no certificate for %s: %s", making->host, making->err.msg);
	} else if (making->cert.made && front_own_renew(place.own, &err) != 0) {
		log_warnx("relay: its new certificate is not taken: %s", err.msg);
	} else {
		bool differs = strcmp(place.cert.pin, making->cert.pin) != 0 ||
			       strcmp(place.host, making->host) != 0;

		place.cert = making->cert;
		memcpy(place.host, making->host, sizeof(place.host));
		if (making->cert.made)
			log_info("relay: made a certificate for %s", place.host);
		if (differs)
			place.changed();
	}
	free(making);
}

static void make_later(const char *host)
{
	struct making *making = place.making ? NULL : calloc(1, sizeof(*making));

	if (!making)
		return;
	making->job = (struct job){.run = make_run, .done = make_done, .name = "certificate"};
	snprintf(making->host, sizeof(making->host), "%s", host);
	place.making = making;
	job_submit(&making->job);
}

LOOP_CALLBACK(derp_certificate_look, ev_timer)
{
	(void)loop, (void)watcher, (void)revents;
	if (*place.host)
		make_later(place.host);
}

static void own_address(char host[static NET_ADDR_STRLEN])
{
	struct net_addr addr;

	if (net_default_address(&addr, AF_INET) || net_default_address(&addr, AF_INET6))
		net_addr_format(&addr, host);
	else
		strcpy(host, "127.0.0.1");
}

/* The listener begins with the certificate that is there, whomever it is for: whoever asks for the
 * region says the right host, and a restart must not change what clients know. */
static int own_open(const struct derp_conf *conf, struct err *err)
{
	char address[NET_ADDR_STRLEN];
	time_t now = time(NULL);
	struct err why = {0};
	int rc = 0;

	place.cert_path = state_path(CERT);
	place.key_path = state_path(KEY);
	if (!place.cert_path || !place.key_path)
		return err_set(err, -ENOMEM, "out of memory");
	own_address(address);
	if (!certificate_read(place.cert_path, place.key_path, NULL, now, &place.cert)) {
		snprintf(place.host, sizeof(place.host), "%s",
			conf->hostname ? conf->hostname : address);
		rc = certificate_ensure(
			place.cert_path, place.key_path, place.host, now, &place.cert, err);
	}
	if (rc)
		return rc;
	rc = front_own_open(&place.own, conf->tls_listen_addr.items, conf->tls_listen_addr.count,
		place.cert_path, place.key_path, &why);
	return rc ? err_set(err, rc, "derp.tls_listen_addr: %s", why.msg) : 0;
}

/* Whether clients that expect `host` are content; if not yet, they will be. */
static bool certificate_is_for(const char *host)
{
	struct certificate cert;

	if (!strcmp(place.host, host))
		return true;
	if (place.making)
		return false;
	if (!certificate_read(place.cert_path, place.key_path, host, time(NULL), &cert)) {
		make_later(host);
		return false;
	}
	place.cert = cert;
	snprintf(place.host, sizeof(place.host), "%s", host);
	return true;
}

/* ---- the region ---------------------------------------------------------------------------- */

static void set_new(json_t *object, const char *key, json_t *value)
{
	json_object_set_new(object, key, value);
}

/* An address saves the look-up; where the host is one of one family, there is none of the other. */
static void set_addresses(json_t *node, const char *host)
{
	char text[NET_ADDR_STRLEN];
	struct net_addr v4 = place.conf->ipv4, v6 = place.conf->ipv6, literal;

	if (net_addr_parse(&literal, host) == 0) {
		if (literal.family == AF_INET && !v4.family)
			v4 = literal;
		if (literal.family == AF_INET6 && !v6.family)
			v6 = literal;
		set_new(node, "IPv4", json_string(v4.family ? net_addr_format(&v4, text) : "none"));
		set_new(node, "IPv6", json_string(v6.family ? net_addr_format(&v6, text) : "none"));
		return;
	}
	if (v4.family)
		set_new(node, "IPv4", json_string(net_addr_format(&v4, text)));
	if (v6.family)
		set_new(node, "IPv6", json_string(net_addr_format(&v6, text)));
}

/* The port that speaks TLS; 0: none does. */
static uint16_t tls_port(struct err *err)
{
	bool tls;
	uint16_t port;

	if (place.conf->advertised_port)
		return (uint16_t)place.conf->advertised_port;
	if (place.own)
		return front_own_where(place.own).port;
	port = front_port(&tls);
	if (port && tls)
		return port;
	err_set(err, -EINVAL,
		"clients want TLS: set derp.tls_listen_addr, as in [\":8443\"], or core.http's "
		"certificate, or advertised_port where a proxy speaks it");
	return 0;
}

static json_t *node_of(const char *host, uint16_t port)
{
	long long id = place.conf->region_id;
	json_t *node = json_pack("{s:o,s:I,s:s}", "Name", json_sprintf("%llda", id), "RegionID",
		(json_int_t)id, "HostName", host);
	uint16_t stun = stun_port();

	set_addresses(node, host);
	if (port != HTTPS)
		set_new(node, "DERPPort", json_integer(port));
	if (stun != STUN_PORT)
		set_new(node, "STUNPort", json_integer(stun ? stun : -1));
	if (front_serves_port_80()) /* clients behind a captive portal ask there */
		set_new(node, "CanPort80", json_true());
	if (place.own && !place.conf->advertised_port)
		set_new(node, "CertName", json_sprintf("sha256-raw:%s", place.cert.pin));
	return node;
}

json_t *place_region(const char *host, struct err *err)
{
	const struct derp_conf *conf = place.conf;
	char address[NET_ADDR_STRLEN];
	uint16_t port = tls_port(err);

	if (!port)
		return NULL;
	own_address(address);
	/* an answer for people must be the control server's: another host wants another certificate
	 */
	if (host)
		snprintf(place.asked, sizeof(place.asked), "%s", host);
	host = conf->hostname ? conf->hostname : *place.asked ? place.asked : address;
	if (place.own && !conf->advertised_port && !certificate_is_for(host)) {
		err_set(err, -EAGAIN, "the certificate for %s is being made", host);
		return NULL;
	}
	return json_pack("{s:I,s:s,s:s,s:[o]}", "RegionID", (json_int_t)conf->region_id,
		"RegionCode", conf->region_code, "RegionName", conf->region_name, "Nodes",
		node_of(host, port));
}

/* ---- the way from here to here ------------------------------------------------------------- */

static void to_loopback(struct net_addr *addr)
{
	static const uint8_t any[16];

	if (memcmp(addr->bytes, any, sizeof(any)) != 0)
		return;
	net_addr_parse(addr, addr->family == AF_INET ? "127.0.0.1" : "::1");
}

bool place_target(struct derp_target *target)
{
	bool tls = true;
	struct net_endpoint at = place.own ? front_own_where(place.own) : front_where(&tls);
	struct net_addr literal;

	*target = (struct derp_target){.port = at.port, .plain = !tls};
	if (!at.port)
		return false;
	to_loopback(&at.addr);
	derp_target_address(target, &at.addr);
	/* no name for a certificate that is asked for by another one, or by an address */
	if (place.conf->hostname && net_addr_parse(&literal, place.conf->hostname) != 0)
		snprintf(target->host, sizeof(target->host), "%s", place.conf->hostname);
	else
		net_addr_format(&at.addr, target->host);
	if (place.own)
		snprintf(target->cert_name, sizeof(target->cert_name), DERP_CERT_PIN "%s",
			place.cert.pin);
	else
		target->insecure = true; /* whom it is signed by is the clients' to judge */
	return true;
}

/* ---- life ---------------------------------------------------------------------------------- */

int place_start(const struct derp_conf *conf, void (*changed)(void), struct err *err)
{
	int rc = 0;

	place.conf = conf;
	place.changed = changed;
	if (conf->tls_listen_addr.count)
		rc = own_open(conf, err);
	ev_timer_init(&place.look, derp_certificate_look, LOOK_EVERY, LOOK_EVERY);
	if (rc)
		place_stop();
	else if (place.own)
		ev_timer_start(core_loop(), &place.look);
	return rc;
}

void place_apply(const struct derp_conf *conf)
{
	place.conf = conf;
	place.changed();
}

void place_stop(void)
{
	ev_timer_stop(core_loop(), &place.look);
	if (place.making)
		jobs_drain();
	if (place.own)
		front_own_close(place.own);
	free(place.cert_path);
	free(place.key_path);
	memset(&place, 0, sizeof(place));
}
