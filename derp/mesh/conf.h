/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Settings derp.mesh. Control loop, and before it runs. */
#include <tailplane/err.h>
#include <tailplane/settings.h>

#include "secret.h"
#include "target.h"

struct derp_mesh_peer {
	char *url;
	char *address;   /* host or address; NULL: the url's */
	char *cert_name; /* NULL: the url's host */
};

struct derp_mesh_conf {
	char *psk_file;            /* NULL: no mesh */
	struct setting_list with;  /* of char *: "host" or "host/address" */
	struct setting_list peers; /* of struct derp_mesh_peer */
};

/* For a group of size sizeof(struct derp_mesh_conf). */
extern const struct setting derp_mesh_settings[];

void derp_mesh_validate(const struct derp_mesh_conf *conf, struct setting_errors *errs);

bool derp_mesh_conf_equal(const struct derp_mesh_conf *a, const struct derp_mesh_conf *b);

/* 64 hex digits, white space around them. 0 or -errno with the reason. */
int derp_mesh_key_load(struct symmetric_key *key, const char *path, struct err *err);
int derp_mesh_key_parse(struct symmetric_key *key, const char *text, size_t len);

/* Where the i-th other node is: `target`, without addresses where they are a name's, and in `dial`
 * that name. -ENOENT: there are not as many; -EINVAL with the reason. */
int derp_mesh_node_at(const struct derp_mesh_conf *conf, size_t i, struct derp_target *target,
	char dial[static DERP_HOST_MAX + 1], struct err *err);
