/* SPDX-License-Identifier: BSD-3-Clause */
/* The relay as a plugin: its parts are put together here. Control loop. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tailplane/handover.h>
#include <tailplane/plugin.h>
#include <tailplane/relay.h>

#include "derp_conf.h"
#include "health.h"
#include "key_file.h"
#include "mesh.h"
#include "metrics.h"
#include "ops.h"
#include "pages.h"
#include "place.h"
#include "probe_op.h"
#include "server.h"
#include "stun_server.h"
#include "verify.h"

/* ---- what the control server in this process wants, and gets told ---- */

static void dismiss(const uint8_t key[static 32])
{
	struct public_key gone;

	memcpy(gone.bytes, key, sizeof(gone.bytes));
	verify_again(&gone);
}

static const struct relay_ops relay_ops = {place_region, dismiss};

static void tell_control(void)
{
	const struct relay_map_ops *map = core_service(RELAY_MAP_SERVICE);

	if (map)
		map->changed();
}

/* ---- settings into parts ---- */

static const struct derp_conf *running_conf;
/* As the server has it; with the key, which stays while it runs. */
static struct derp_server_conf server_conf;

static void server_settings(const struct derp_conf *conf)
{
	struct derp_server_conf *server = &server_conf;

	server->admission = verify_admission();
	server->client_rate = (conf->limits.client_rate + 7) / 8; /* 0 is no limit */
	server->client_burst = conf->limits.client_burst;
	server->accept_rate = (unsigned)conf->limits.accept_rate;
	server->accept_burst = (unsigned)conf->limits.accept_burst;
	server->connections_max = (unsigned)conf->limits.connections;
	server->connections_address = (unsigned)conf->limits.connections_per_address;
	server->memory_max = conf->limits.memory;
	server->write_timeout = conf->limits.write_timeout;
}

static void note_control(void *arg, const char *name, const char *dir)
{
	(void)dir;
	*(bool *)arg |= !strcmp(name, "control");
}

/* ---- life ---- */

static int stun_begin(const struct derp_conf *conf, struct err *err)
{
	char *addresses[] = {conf->stun_listen_addr};
	struct setting_list list = {addresses, *conf->stun_listen_addr != '\0'};

	return stun_start(&list, err);
}

static int health_begin(const struct derp_conf *conf, struct err *err)
{
	(void)conf;
	return health_start(err);
}

static int place_begin(const struct derp_conf *conf, struct err *err)
{
	return place_start(conf, tell_control, err);
}

static int pages_begin(const struct derp_conf *conf, struct err *err)
{
	bool beside_control = false;

	core_each_plugin(note_control, &beside_control);
	return derp_pages_start(conf, !beside_control, err);
}

static int others_begin(const struct derp_conf *conf, struct err *err)
{
	(void)err;
	derp_ops_use(conf);
	core_provide(RELAY_SERVICE, &relay_ops);
	tell_control();
	return 0;
}

static void others_end(void)
{
	core_provide(RELAY_SERVICE, NULL);
	probe_stop();
	derp_ops_use(NULL);
	tell_control();
}

/* The process before us, and we, are one node while it sends its clients here. */
#define LINK "derp.link"

static void take_link(int fd)
{
	derp_server_kin(fd, false);
}

static void give_link(void)
{
	int ends[2], rc;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
		log_warn("derp: clients here and at the new process do not reach each other");
		return;
	}
	rc = handover_give(LINK, ends[1]);
	close(ends[1]);
	if (rc)
		log_warnx("derp: no link to the new process: %s", strerror(-rc));
	derp_server_kin(ends[0], true);
}

/* Questions are answered before the server stops, and asked after it started. */
static void server_end(void)
{
	handover_expect(LINK, NULL);
	verify_stop();
	derp_server_stop();
	secret_zero(&server_conf, sizeof(server_conf));
}

static int server_begin(const struct derp_conf *conf, struct err *err)
{
	int rc = derp_key_load(&server_conf.key, conf->private_key_path, err);

	if (!rc && conf->mesh.psk_file) {
		rc = derp_mesh_key_load(&server_conf.mesh_key, conf->mesh.psk_file, err);
		server_conf.has_mesh_key = !rc;
	}
	if (!rc)
		rc = verify_start(conf, err);
	if (rc)
		return rc;
	server_settings(conf);
	rc = derp_server_start(&server_conf, err);
	if (rc)
		verify_stop();
	else
		handover_expect(LINK, take_link);
	return rc;
}

static int mesh_begin(const struct derp_conf *conf, struct err *err)
{
	return derp_mesh_start(&conf->mesh, &server_conf.key, &server_conf.mesh_key, err);
}

/* Each step with its opposite, in order: listeners of our own come when there is something to
 * serve, and go first. */
static const struct part {
	int (*start)(const struct derp_conf *conf, struct err *err);
	void (*stop)(void);
} parts[] = {
	{stun_begin, stun_stop},
	{server_begin, server_end},
	{mesh_begin, derp_mesh_stop},
	{pages_begin, derp_pages_stop},
	{place_begin, place_stop},
	{health_begin, health_stop},
	{others_begin, others_end},
};

static unsigned n_started;

static void derp_stop(void)
{
	while (n_started)
		parts[--n_started].stop();
}

static int derp_start(const void *settings, struct err *err)
{
	running_conf = settings;
	while (n_started < sizeof(parts) / sizeof(*parts)) {
		int rc = parts[n_started].start(settings, err);

		if (rc) {
			derp_stop();
			return rc;
		}
		n_started++;
	}
	return 0;
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static bool same_list(const struct setting_list *a, const struct setting_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!same(((char **)a->items)[i], ((char **)b->items)[i]))
			return false;
	return true;
}

/* The file may be another one though the settings are the same. 1: it is; -errno: no key. */
static int mesh_key_changed(const struct derp_conf *next, struct err *err)
{
	struct symmetric_key key = {0};
	int rc = next->mesh.psk_file ? derp_mesh_key_load(&key, next->mesh.psk_file, err) : 0;

	if (!rc)
		rc = !secret_equal(&key, &server_conf.mesh_key, sizeof(key));
	secret_zero(&key, sizeof(key));
	return rc;
}

/* What is bound to sockets and to the keys takes a restart of the plugin: clients come back, and
 * who had the mesh's old key does not. */
static enum plugin_reload derp_check(const void *running, const void *next, struct err *err)
{
	const struct derp_conf *a = running, *b = next;
	int changed = mesh_key_changed(b, err);

	if (changed < 0)
		return PLUGIN_REFUSE;
	if (!changed && same(a->private_key_path, b->private_key_path) &&
		same(a->stun_listen_addr, b->stun_listen_addr) &&
		same_list(&a->tls_listen_addr, &b->tls_listen_addr))
		return PLUGIN_ABSORB;
	return PLUGIN_RESTART;
}

static void mesh_apply(const struct derp_conf *conf)
{
	struct err err = {0};

	if (derp_mesh_conf_equal(&running_conf->mesh, &conf->mesh))
		return;
	derp_mesh_stop();
	if (derp_mesh_start(&conf->mesh, &server_conf.key, &server_conf.mesh_key, &err) != 0)
		log_warnx("derp: there is no mesh: %s", err.msg);
}

static void derp_apply(const void *next)
{
	const struct derp_conf *conf = next;

	mesh_apply(conf);
	running_conf = conf;
	server_settings(conf);
	derp_server_configure(&server_conf);
	derp_ops_use(conf);
	derp_pages_apply(conf);
	verify_apply(conf);
	place_apply(conf);
}

static void (*handed_over)(void);

static void derp_drained(void *user)
{
	(void)user;
	handed_over();
}

/* STUN answers to the end, from the sockets that the successor has as well. */
static void derp_hand_over(void (*done)(void))
{
	handed_over = done;
	health_rest();
	verify_hand_over();
	give_link();
	derp_server_drain(running_conf->drain, true, derp_drained, NULL);
}

__attribute__((visibility("default"))) const struct plugin tailplane_plugin = {
	.abi = TAILPLANE_ABI,
	.size = sizeof(struct plugin),
	.name = "derp",
	.version = TAILPLANE_VERSION,
	.summary = "The DERP relay that Tailscale clients fall back on, and STUN",
	.settings = derp_settings,
	.settings_size = sizeof(struct derp_conf),
	.ops = derp_ops,
	.validate = derp_validate,
	.start = derp_start,
	.stop = derp_stop,
	.check = derp_check,
	.apply = derp_apply,
	.collect = derp_metrics_collect,
	.status = derp_status_fill,
	.hand_over = derp_hand_over,
};
