/* SPDX-License-Identifier: BSD-3-Clause */
/* The relay as a plugin. Control loop. */
#include <errno.h>
#include <string.h>
#include <tailplane/plugin.h>

#include "mesh.h"
#include "server.h"
#include "x25519.h"

struct derp_conf {
	char *private_key_file;
	struct derp_mesh_conf mesh;
};

static const struct setting derp_settings[] = {
	{.name = "private_key_file",
		.type = SETTING_SECRET_FILE,
		.offset = offsetof(struct derp_conf, private_key_file),
		.def = "derp.key",
		.help = "The relay's key; made at the first start."},
	{"mesh", SETTING_GROUP, 0, offsetof(struct derp_conf, mesh), .sub = derp_mesh_settings,
		.size = sizeof(struct derp_mesh_conf),
		.help = "The nodes of the region: each passes on what is for clients of the "
			"others."},
	{0},
};

static int key_load(struct private_key *key, const char *path, struct err *err)
{
	struct err why = {0};
	ssize_t n = state_read_secret(path, key->bytes, sizeof(key->bytes), &why);

	if (n == -ENOENT) {
		x25519_generate(key);
		return state_write(path, key->bytes, sizeof(key->bytes), 0600, err);
	}
	if (n < 0)
		return err_set(err, (int)n, "%s", why.msg);
	return n == sizeof(key->bytes) ? 0 : err_set(err, -EINVAL, "%s is no relay's key", path);
}

static int derp_start(const void *settings, struct err *err)
{
	const struct derp_conf *conf = settings;
	struct derp_server_conf server = {0};
	int rc = key_load(&server.key, conf->private_key_file, err);

	if (!rc && conf->mesh.psk_file) {
		rc = derp_mesh_key_load(&server.mesh_key, conf->mesh.psk_file, err);
		server.has_mesh_key = !rc;
	}
	if (!rc)
		rc = derp_server_start(&server, err);
	if (!rc) {
		rc = derp_mesh_start(&conf->mesh, &server.key, &server.mesh_key, err);
		if (rc)
			derp_server_stop();
	}
	secret_zero(&server, sizeof(server));
	return rc;
}

static void derp_stop(void)
{
	derp_mesh_stop();
	derp_server_stop();
}

static void derp_validate(const void *settings, struct setting_errors *errs)
{
	derp_mesh_validate(&((const struct derp_conf *)settings)->mesh, errs);
}

static void derp_status(json_t *status)
{
	json_object_set_new(status, "mesh", derp_mesh_status());
}

__attribute__((visibility("default"))) const struct plugin tailplane_plugin = {
	.abi = TAILPLANE_ABI,
	.size = sizeof(struct plugin),
	.name = "derp",
	.version = TAILPLANE_VERSION,
	.summary = "The DERP relay that Tailscale clients fall back on",
	.settings = derp_settings,
	.settings_size = sizeof(struct derp_conf),
	.start = derp_start,
	.stop = derp_stop,
	.validate = derp_validate,
	.status = derp_status,
	.collect = derp_mesh_collect,
};
