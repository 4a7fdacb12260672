/* SPDX-License-Identifier: BSD-3-Clause */
/* Protocol library. */
#include "requests.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "json_in.h"
#include "key_text.h"

static json_t *object_of(json_t *object, const char *name)
{
	json_t *value = json_object_get(object, name);

	return json_is_object(value) ? value : NULL;
}

/* It is shown to other nodes, and has 16 bits where a connection begins. */
static int version_of(json_t *object, int64_t *version, struct err *err)
{
	int rc = json_in_int(object, "Version", version, err);

	if (!rc && (*version < 0 || *version > UINT16_MAX))
		rc = err_set(err, -EINVAL, "Version: a number of 16 bits is expected");
	return rc;
}

static int register_read(struct register_request *out, struct err *err)
{
	json_t *o = out->object;
	int rc = version_of(o, &out->version, err);

	if (!rc)
		rc = json_in_key(o, "NodeKey", KEY_TEXT_NODE, &out->node_key, err);
	if (!rc)
		rc = json_in_key(o, "OldNodeKey", KEY_TEXT_NODE, &out->old_node_key, err);
	if (!rc)
		rc = json_in_key(o, "NLKey", KEY_TEXT_LOCK, &out->lock_key, err);
	if (!rc)
		rc = json_in_string(object_of(o, "Auth"), "AuthKey", &out->auth_key, err);
	if (!rc)
		rc = json_in_string(o, "Followup", &out->followup, err);
	if (!rc)
		rc = json_in_time(o, "Expiry", &out->expiry, err);
	if (!rc)
		rc = json_in_bool(o, "Ephemeral", &out->ephemeral, err);
	if (!rc && secret_is_zero(out->node_key.bytes, sizeof(out->node_key.bytes)))
		rc = err_set(err, -EINVAL, "NodeKey is missing");
	out->hostinfo = object_of(o, "Hostinfo");
	return rc;
}

int register_request_parse(
	struct register_request *out, const void *body, size_t len, struct err *err)
{
	int rc;

	*out = (struct register_request){.object = json_in_object(body, len, err)};
	rc = out->object ? register_read(out, err) : -EINVAL;
	if (rc)
		register_request_fini(out);
	return rc;
}

void register_request_fini(struct register_request *request)
{
	if (request->auth_key)
		secret_zero((char *)request->auth_key, strlen(request->auth_key));
	json_decref(request->object);
	*request = (struct register_request){0};
}

static int map_read(struct map_request *out, struct err *err)
{
	json_t *o = out->object, *endpoints;
	int rc = version_of(o, &out->version, err);

	if (!rc)
		rc = json_in_key(o, "NodeKey", KEY_TEXT_NODE, &out->node_key, err);
	if (!rc)
		rc = json_in_key(o, "DiscoKey", KEY_TEXT_DISCO, &out->disco_key, err);
	if (!rc)
		rc = json_in_bool(o, "Stream", &out->stream, err);
	if (!rc)
		rc = json_in_bool(o, "OmitPeers", &out->omit_peers, err);
	if (!rc)
		rc = json_in_bool(o, "ReadOnly", &out->read_only, err);
	if (!rc && secret_is_zero(out->node_key.bytes, sizeof(out->node_key.bytes)))
		rc = err_set(err, -EINVAL, "NodeKey is missing");
	endpoints = json_object_get(o, "Endpoints");
	out->endpoints = json_array_size(endpoints) ? endpoints : NULL;
	return rc;
}

/* The request with an empty Hostinfo instead of its own, whose text is put aside; NULL where that
 * cannot be done. */
static json_t *without_hostinfo(struct map_request *out, const char *body, size_t len)
{
	size_t at, span;
	char *rest;
	json_t *object = NULL;

	if (len > JSON_IN_MAX || !json_in_span(body, len, "Hostinfo", &at, &span))
		return NULL;
	rest = malloc(len - span + 2);
	out->hostinfo_text = malloc(span + 1);
	if (rest && out->hostinfo_text && !memchr(body + at, 0, span)) {
		memcpy(out->hostinfo_text, body + at, span);
		out->hostinfo_text[span] = 0;
		memcpy(rest, body, at);
		memcpy(rest + at, "{}", 2);
		memcpy(rest + at + 2, body + at + span, len - at - span);
		object = json_in_object(rest, len - span + 2, NULL);
		crypto_generichash(
			out->said, sizeof(out->said), (const uint8_t *)body + at, span, NULL, 0);
	}
	free(rest);
	return object;
}

int map_request_parse(struct map_request *out, const void *body, size_t len, struct err *err)
{
	int rc;

	*out = (struct map_request){0};
	out->object = without_hostinfo(out, body, len);
	if (!out->object) {
		free(out->hostinfo_text);
		*out = (struct map_request){.object = json_in_object(body, len, err)};
	}
	rc = out->object ? map_read(out, err) : -EINVAL;
	if (!rc && !out->hostinfo_text)
		out->hostinfo = object_of(out->object, "Hostinfo");
	if (rc)
		map_request_fini(out);
	return rc;
}

int map_request_hostinfo(struct map_request *request, struct err *err)
{
	json_t *info;

	if (request->hostinfo || !request->hostinfo_text)
		return 0;
	info = json_in_object(request->hostinfo_text, strlen(request->hostinfo_text), err);
	if (!info)
		return -EINVAL;
	/* the request owns it, as it does where it was read with all else */
	if (json_object_set_new(request->object, "Hostinfo", info))
		return err_set(err, -EINVAL, "no memory");
	request->hostinfo = info;
	return 0;
}

void map_request_fini(struct map_request *request)
{
	free(request->hostinfo_text);
	json_decref(request->object);
	*request = (struct map_request){0};
}
