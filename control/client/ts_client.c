/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs on: any thread, one at a time for a client. */
#include "ts_client.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ts2021.h"

#define HEAD_MAX 4096
#define WINDOW (4 << 20)     /* of a stream, as Go's client has */
#define WINDOW_ALL (1 << 30) /* of the connection */
#define EARLY_JSON_MAX 4096
#define BASE64_MAX 160

enum phase { PHASE_HEAD, PHASE_RESPONSE, PHASE_EARLY, PHASE_EARLY_JSON, PHASE_H2 };

struct bytes {
	uint8_t *data;
	size_t len, size, at;
};

struct request_body {
	struct request_body *next;
	int32_t stream;
	size_t len, at;
	uint8_t data[];
};

struct ts_client {
	const struct ts_client_ops *ops;
	void *user;
	enum phase phase;
	struct ts2021_client handshake;
	struct ts2021_keys keys;
	nghttp2_session *h2;
	struct bytes in;  /* not understood yet; lent, as is `out`: there may be many clients */
	struct bytes out; /* to be sent */
	uint8_t early_header[TS2021_EARLY_HEADER_LEN];
	size_t early_at, early_len;
	struct request_body *bodies;
	struct ts_client_facts facts;
	char error[256];
};

static int fail(struct ts_client *client, int code, const char *why)
{
	if (!client->error[0])
		snprintf(client->error, sizeof(client->error), "%.*s",
			(int)sizeof(client->error) - 1, why);
	return code;
}

static bool append(struct bytes *bytes, const void *data, size_t len)
{
	size_t need = bytes->len + len;

	if (need > bytes->size) {
		size_t size = need > 2 * bytes->size ? need : 2 * bytes->size;
		uint8_t *grown = realloc(bytes->data, size);

		if (!grown)
			return false;
		bytes->data = grown;
		bytes->size = size;
	}
	memcpy(bytes->data + bytes->len, data, len);
	bytes->len = need;
	return true;
}

/* The first `at` bytes are done with. */
static void shorten(struct bytes *bytes)
{
	bytes->len -= bytes->at;
	if (!bytes->len) {
		free(bytes->data);
		*bytes = (struct bytes){0};
		return;
	}
	memmove(bytes->data, bytes->data + bytes->at, bytes->len);
	bytes->at = 0;
}

static bool append_records(struct ts_client *client, const uint8_t *text, size_t len)
{
	uint8_t record[TS2021_FRAME_MAX];

	while (len) {
		size_t part = len < TS2021_TEXT_MAX ? len : TS2021_TEXT_MAX;
		ssize_t n = ts2021_seal(&client->keys.send, record, text, part);

		if (n < 0 || !append(&client->out, record, (size_t)n))
			return false;
		text += part;
		len -= part;
	}
	return true;
}

/* ---- HTTP/2 ---- */

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name,
	size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
	struct ts_client *client = user;

	(void)h2, (void)flags, (void)value_len;
	if (name_len == 7 && memcmp(name, ":status", 7) == 0 && client->ops->status)
		client->ops->status(client->user, frame->hd.stream_id, atoi((const char *)value));
	return 0;
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t stream, const uint8_t *data,
	size_t len, void *user)
{
	struct ts_client *client = user;

	(void)flags;
	if (client->ops->data)
		client->ops->data(client->user, stream, data, len);
	if (!client->ops->hold_window)
		nghttp2_session_consume(h2, stream, len);
	return 0;
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
	struct ts_client *client = user;

	(void)h2;
	if (frame->hd.type == NGHTTP2_GOAWAY)
		client->facts.goaway = true;
	else if (frame->hd.type == NGHTTP2_DATA)
		client->facts.data_frames++;
	else if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK))
		client->facts.pongs++;
	return 0;
}

static void body_free(struct ts_client *client, int32_t stream)
{
	for (struct request_body **at = &client->bodies; *at; at = &(*at)->next) {
		struct request_body *body = *at;

		if (body->stream != stream)
			continue;
		*at = body->next;
		free(body);
		return;
	}
}

static int on_close(nghttp2_session *h2, int32_t stream, uint32_t error, void *user)
{
	struct ts_client *client = user;

	(void)h2;
	body_free(client, stream);
	if (client->ops->end)
		client->ops->end(client->user, stream, error);
	return 0;
}

static ssize_t on_read(nghttp2_session *h2, int32_t stream, uint8_t *buf, size_t len,
	uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct request_body *body = source->ptr;
	size_t left = body->len - body->at;

	(void)h2, (void)stream, (void)user;
	if (len >= left) {
		len = left;
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	}
	memcpy(buf, body->data + body->at, len);
	body->at += len;
	return (ssize_t)len;
}

static nghttp2_session_callbacks *callbacks_new(void)
{
	nghttp2_session_callbacks *callbacks;

	if (nghttp2_session_callbacks_new(&callbacks) != 0)
		return NULL;
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
	return callbacks;
}

static int h2_open(struct ts_client *client, uint32_t window)
{
	nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window ? window : WINDOW},
	};
	nghttp2_session_callbacks *callbacks = callbacks_new();
	nghttp2_option *option = NULL;
	int rc = callbacks ? nghttp2_option_new(&option) : -ENOMEM;

	if (!rc) {
		nghttp2_option_set_no_auto_window_update(option, 1);
		rc = nghttp2_session_client_new2(&client->h2, callbacks, client, option);
	}
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	if (!rc)
		rc = nghttp2_submit_settings(client->h2, NGHTTP2_FLAG_NONE, settings, 2);
	if (!rc)
		rc = nghttp2_session_set_local_window_size(
			client->h2, NGHTTP2_FLAG_NONE, 0, WINDOW_ALL);
	return rc ? -ENOMEM : 0;
}

static nghttp2_nv field(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
		NGHTTP2_NV_FLAG_NONE};
}

int32_t ts_client_request(struct ts_client *client, const char *method, const char *path,
	const char *authority, const void *body, size_t len)
{
	nghttp2_nv fields[] = {field(":method", method), field(":scheme", "https"),
		field(":authority", authority), field(":path", path)};
	nghttp2_data_provider provider = {.read_callback = on_read};
	struct request_body *copy = NULL;
	int32_t stream;

	if (body) {
		copy = malloc(sizeof(*copy) + len);
		if (!copy)
			return -ENOMEM;
		*copy = (struct request_body){.len = len};
		memcpy(copy->data, body, len);
		provider.source.ptr = copy;
	}
	stream = nghttp2_submit_request(client->h2, NULL, fields, 4, copy ? &provider : NULL, NULL);
	if (stream < 0) {
		free(copy);
	} else if (copy) {
		copy->stream = stream;
		copy->next = client->bodies;
		client->bodies = copy;
	}
	return stream;
}

void ts_client_cancel(struct ts_client *client, int32_t stream)
{
	nghttp2_submit_rst_stream(client->h2, NGHTTP2_FLAG_NONE, stream, NGHTTP2_CANCEL);
}

void ts_client_ping(struct ts_client *client)
{
	nghttp2_submit_ping(client->h2, NGHTTP2_FLAG_NONE, NULL);
}

int ts_client_text(struct ts_client *client, const void *text, size_t len)
{
	if (client->phase < PHASE_EARLY)
		return -EAGAIN;
	return append_records(client, text, len) ? 0 : -ENOMEM;
}

void ts_client_begin_with(struct ts_client *client, uint32_t window)
{
	const nghttp2_settings_entry setting = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window};

	nghttp2_submit_settings(client->h2, NGHTTP2_FLAG_NONE, &setting, 1);
}

void ts_client_give(struct ts_client *client, int32_t stream, int32_t increment)
{
	nghttp2_submit_window_update(client->h2, NGHTTP2_FLAG_NONE, stream, increment);
}

void ts_client_consume(struct ts_client *client, int32_t stream, size_t len)
{
	nghttp2_session_consume(client->h2, stream, len);
}

/* ---- what arrives, by phase: how many bytes were used; 0: more are needed ---- */

static ssize_t take_head(struct ts_client *client, const uint8_t *bytes, size_t len)
{
	const uint8_t *end = memmem(bytes, len, "\r\n\r\n", 4);
	char words[128];

	if (!end)
		return len > HEAD_MAX ? fail(client, -EPROTO, "no end of the HTTP answer") : 0;
	if (len < 12 || memcmp(bytes, "HTTP/1.1 101", 12) != 0) {
		snprintf(words, sizeof(words), "the server says: %.*s",
			(int)((const uint8_t *)memchr(bytes, '\r', len) - bytes),
			(const char *)bytes);
		return fail(client, -ECONNREFUSED, words);
	}
	client->phase = PHASE_RESPONSE;
	return end + 4 - bytes;
}

static ssize_t take_response(struct ts_client *client, const uint8_t *bytes, size_t len)
{
	char words[TS2021_ERROR_MAX + 32];
	size_t whole;
	int rc;

	if (len < TS2021_HEADER_LEN)
		return 0;
	whole = TS2021_HEADER_LEN + ((size_t)bytes[1] << 8 | bytes[2]);
	if (bytes[0] == TS2021_ERROR && whole <= TS2021_HEADER_LEN + TS2021_ERROR_MAX) {
		if (len < whole)
			return 0;
		snprintf(words, sizeof(words), "the server refuses: %.*s",
			(int)(whole - TS2021_HEADER_LEN), (const char *)bytes + TS2021_HEADER_LEN);
		return fail(client, -ECONNREFUSED, words);
	}
	if (len < TS2021_RESPONSE_LEN)
		return 0;
	rc = ts2021_finish(&client->handshake, bytes, &client->keys);
	if (rc)
		return fail(client, rc, "the answer is not of the server's key");
	client->phase = PHASE_EARLY;
	return TS2021_RESPONSE_LEN;
}

static int take_h2(struct ts_client *client, const uint8_t *text, size_t len)
{
	if (nghttp2_session_mem_recv(client->h2, text, len) < 0)
		return fail(client, -EPROTO, "the server breaks HTTP/2");
	return 0;
}

/* The header of an early payload, or of an HTTP/2 frame: they are equally long. */
static int end_early_header(struct ts_client *client)
{
	ssize_t json = ts2021_early_len(client->early_header);

	if (json == -ENOENT) {
		client->phase = PHASE_H2;
		return take_h2(client, client->early_header, sizeof(client->early_header));
	}
	if (json < 0 || json >= EARLY_JSON_MAX)
		return fail(client, -EPROTO, "the early payload is too long");
	client->facts.early = calloc(1, (size_t)json + 1);
	if (!client->facts.early)
		return fail(client, -ENOMEM, "no memory");
	client->early_at = 0;
	client->early_len = (size_t)json;
	client->phase = json ? PHASE_EARLY_JSON : PHASE_H2;
	return 0;
}

static size_t fill(uint8_t *to, size_t *at, size_t size, const uint8_t *text, size_t len)
{
	size_t part = len < size - *at ? len : size - *at;

	memcpy(to + *at, text, part);
	*at += part;
	return part;
}

static int take_text(struct ts_client *client, const uint8_t *text, size_t len)
{
	size_t part;
	int rc = 0;

	while (len && !rc) {
		part = len;
		if (client->phase == PHASE_EARLY) {
			part = fill(client->early_header, &client->early_at,
				sizeof(client->early_header), text, len);
			if (client->early_at == sizeof(client->early_header))
				rc = end_early_header(client);
		} else if (client->phase == PHASE_EARLY_JSON) {
			part = fill((uint8_t *)client->facts.early, &client->early_at,
				client->early_len, text, len);
			if (client->early_at == client->early_len)
				client->phase = PHASE_H2;
		} else {
			rc = take_h2(client, text, len);
		}
		text += part;
		len -= part;
	}
	return rc;
}

static ssize_t take_record(struct ts_client *client, uint8_t *bytes, size_t len)
{
	ssize_t whole = ts2021_record_len(bytes, len), text;
	int rc;

	if (whole < 0)
		return fail(client, (int)whole, "this is no record");
	if (!whole || (size_t)whole > len)
		return 0;
	text = ts2021_open(&client->keys.receive, bytes, (size_t)whole);
	if (text < 0)
		return fail(client, (int)text, "a record is forged");
	client->facts.records++;
	rc = take_text(client, bytes + TS2021_HEADER_LEN, (size_t)text);
	return rc ? rc : whole;
}

int ts_client_input(struct ts_client *client, const uint8_t *bytes, size_t len)
{
	ssize_t n = 1;

	if (!append(&client->in, bytes, len))
		return fail(client, -ENOMEM, "no memory");
	while (n > 0 && client->in.at < client->in.len) {
		uint8_t *at = client->in.data + client->in.at;
		size_t left = client->in.len - client->in.at;

		if (client->phase == PHASE_HEAD)
			n = take_head(client, at, left);
		else if (client->phase == PHASE_RESPONSE)
			n = take_response(client, at, left);
		else
			n = take_record(client, at, left);
		if (n > 0)
			client->in.at += (size_t)n;
	}
	shorten(&client->in);
	return n < 0 ? (int)n : 0;
}

/* ---- what is sent ---- */

const uint8_t *ts_client_output(struct ts_client *client, size_t *len)
{
	const uint8_t *text;
	ssize_t n;

	while (client->phase >= PHASE_EARLY &&
		(n = nghttp2_session_mem_send(client->h2, &text)) > 0) {
		if (!append_records(client, text, (size_t)n))
			break;
	}
	*len = client->out.len - client->out.at;
	return *len ? client->out.data + client->out.at : NULL;
}

void ts_client_sent(struct ts_client *client, size_t len)
{
	client->out.at += len;
	if (client->out.at == client->out.len)
		shorten(&client->out);
}

/* ---- life ---- */

static bool say_hello(struct ts_client *client, const struct ts_client_conf *conf)
{
	uint8_t initiation[TS2021_INITIATION_LEN];
	char base64[BASE64_MAX], head[512];
	int n;

	if (ts2021_initiate(&client->handshake, &conf->machine, &conf->server, conf->version,
		    initiation) != 0)
		return false;
	sodium_bin2base64(base64, sizeof(base64), initiation, sizeof(initiation),
		sodium_base64_VARIANT_ORIGINAL);
	n = snprintf(head, sizeof(head),
		"POST /ts2021 HTTP/1.1\r\nHost: %.200s\r\nUpgrade: tailscale-control-protocol\r\n"
		"Connection: upgrade\r\nX-Tailscale-Handshake: %s\r\nContent-Length: 0\r\n\r\n",
		conf->host, base64);
	return append(&client->out, head, (size_t)n);
}

struct ts_client *ts_client_new(const struct ts_client_conf *conf)
{
	struct ts_client *client = NULL;

	if (posix_memalign((void **)&client, _Alignof(struct ts_client), sizeof(*client)) != 0)
		return NULL;
	memset(client, 0, sizeof(*client));
	client->ops = conf->ops;
	client->user = conf->user;
	if (h2_open(client, conf->window) == 0 && say_hello(client, conf))
		return client;
	ts_client_free(client);
	return NULL;
}

void ts_client_free(struct ts_client *client)
{
	if (!client)
		return;
	nghttp2_session_del(client->h2);
	while (client->bodies)
		body_free(client, client->bodies->stream);
	free(client->in.data);
	free(client->out.data);
	free((char *)client->facts.early);
	secret_zero(client, sizeof(*client));
	free(client);
}

const char *ts_client_error(const struct ts_client *client)
{
	return client->error;
}

struct ts_client_facts ts_client_facts(const struct ts_client *client)
{
	return client->facts;
}
