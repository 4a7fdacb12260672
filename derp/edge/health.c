/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop. */
#include "health.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

#include <tailplane/log.h>
#include <tailplane/loop.h>

#include "client.h"
#include "place.h"
#include "server.h"
#include "stun_server.h"
#include "x25519.h"

#define LOOK_EVERY 10.
#define LOOK_AGAIN 1. /* while it does not work, and at first */
/* One try that fails while there is much to do is no verdict. */
#define FAILURES_UNTIL_ILL 2
#define KEYS 2 /* that of the look, and of a probe by hand */

static struct {
	SSL_CTX *tls;
	struct relay_client *client;
	struct private_key keys[KEYS];
	struct public_key public_keys[KEYS];
	ev_timer look;
	unsigned failures;
	bool told; /* clients, of the problem */
	char problem[256];
} health;

static void look_in(double seconds)
{
	ev_timer_stop(core_loop(), &health.look);
	ev_timer_set(&health.look, seconds, 0.);
	ev_timer_start(core_loop(), &health.look);
}

static void set_well(void)
{
	if (*health.problem)
		log_info("relay: it works%s", stun_port() ? "; STUN answers" : "");
	if (health.told)
		derp_server_health("");
	health.told = false;
	health.failures = 0;
	health.problem[0] = '\0';
	stun_speak(true);
	look_in(LOOK_EVERY);
}

static void set_ill(const char *why)
{
	if (++health.failures >= FAILURES_UNTIL_ILL && strcmp(health.problem, why) != 0) {
		snprintf(health.problem, sizeof(health.problem), "%s", why);
		derp_server_health(why); /* clients show it to their people */
		health.told = true;
		log_warnx("relay: it cannot be used: %s%s", why,
			stun_port() ? "; STUN is silent so that clients choose another one" : "");
		stun_speak(false);
	}
	look_in(LOOK_AGAIN);
}

/* Clients look at these dates, whoever has signed. */
static bool dates_hold(const SSL *tls)
{
	X509 *cert = tls ? SSL_get0_peer_certificate(tls) : NULL;

	return !cert || (X509_cmp_current_time(X509_get0_notBefore(cert)) < 0 &&
				X509_cmp_current_time(X509_get0_notAfter(cert)) > 0);
}

static void on_up(void *user, const struct public_key *server)
{
	bool hold = dates_hold(relay_client_facts(health.client).tls);

	(void)user, (void)server;
	relay_client_free(health.client);
	health.client = NULL;
	if (hold)
		set_well();
	else
		set_ill("its certificate has ended, or is not valid yet");
}

static void on_down(void *user, int error, const char *why)
{
	(void)user, (void)error;
	relay_client_free(health.client);
	health.client = NULL;
	set_ill(why);
}

LOOP_CALLBACK(derp_health_look, ev_timer)
{
	static const struct relay_client_ops ops = {.up = on_up, .down = on_down};
	struct derp_target target;
	struct relay_client_conf conf = {.loop = loop,
		.tls = health.tls,
		.targets = &target,
		.n_targets = 1,
		.key = health.keys[0],
		.prober = true,
		.once = true,
		.ops = &ops};

	(void)watcher, (void)revents;
	if (health.client)
		return;
	if (!place_target(&target)) {
		set_ill("nothing listens: set core.http.listen_addr or derp.tls_listen_addr");
		return;
	}
	health.client = relay_client_new(&conf);
	secret_zero(&conf.key, sizeof(conf.key));
	if (!health.client)
		set_ill("out of memory");
}

int health_start(struct err *err)
{
	/* no authorities are needed: the target names the certificate, or takes any */
	health.tls = SSL_CTX_new(TLS_client_method());
	if (!health.tls)
		return err_set(err, -ENOMEM, "OpenSSL cannot make a context");
	for (unsigned i = 0; i < KEYS; i++) {
		x25519_generate(&health.keys[i]);
		x25519_public(&health.public_keys[i], &health.keys[i]);
	}
	strcpy(health.problem, "not looked at yet");
	ev_timer_init(&health.look, derp_health_look, 0., 0.);
	ev_timer_start(core_loop(), &health.look);
	return 0;
}

void health_rest(void)
{
	ev_timer_stop(core_loop(), &health.look);
	if (health.client)
		relay_client_free(health.client);
	health.client = NULL;
}

void health_drained(void)
{
	health_rest();
	snprintf(health.problem, sizeof(health.problem),
		"it was drained, and takes nobody until it is started again");
	stun_speak(false);
}

void health_stop(void)
{
	health_rest();
	SSL_CTX_free(health.tls);
	secret_zero(&health, sizeof(health));
}

const char *health_problem(void)
{
	return *health.problem ? health.problem : NULL;
}

bool health_is_key(const struct public_key *key)
{
	bool is = false;

	for (unsigned i = 0; i < KEYS; i++)
		is |= secret_equal(key, &health.public_keys[i], sizeof(*key));
	return is;
}

const struct private_key *health_probe_key(void)
{
	return &health.keys[1];
}

SSL_CTX *health_tls(void)
{
	return health.tls;
}
