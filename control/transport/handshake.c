/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * /ts2021: from an HTTP request to a Noise session. Runs on: the connection's I/O loop. A handshake
 * is four X25519, so of those that wait a few are served in each turn of the loop, between which
 * streams have theirs.
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tailplane/front.h>
#include <tailplane/log.h>

#include "private.h"

#define PROTOCOL "tailscale-control-protocol"
#define BASE64_MAX 160

struct handshake {
	struct handshake *next;
	struct front_request *request;
	bool websocket;
	char accept[WEBSOCKET_ACCEPT_LEN + 1];
	uint8_t initiation[TS2021_INITIATION_LEN];
};

/* ---- requests ---- */

static bool parse_initiation(uint8_t *initiation, const char *base64)
{
	size_t len = 0;

	return base64 &&
	       sodium_base642bin(initiation, TS2021_INITIATION_LEN, base64, strlen(base64), NULL,
		       &len, NULL, sodium_base64_VARIANT_ORIGINAL) == 0 &&
	       len == TS2021_INITIATION_LEN;
}

/* NULL, or what is wrong. */
static const char *read_websocket(struct handshake *handshake)
{
	const struct front_request *request = handshake->request;
	const char *protocol = front_field(request, "Sec-WebSocket-Protocol");
	const char *version = front_field(request, "Sec-WebSocket-Version");
	char base64[BASE64_MAX];

	if (!version || strcmp(version, "13") != 0 ||
		websocket_accept(front_field(request, "Sec-WebSocket-Key"), handshake->accept) != 0)
		return "this is no WebSocket of version 13";
	if (!protocol || !strstr(protocol, PROTOCOL))
		return "Sec-WebSocket-Protocol must be " PROTOCOL;
	if (front_query_get(request, "X-Tailscale-Handshake", base64, sizeof(base64)) < 0 ||
		!parse_initiation(handshake->initiation, base64))
		return "X-Tailscale-Handshake in the query is missing or no Noise initiation";
	return NULL;
}

static const char *read_upgrade(struct handshake *handshake)
{
	const char *base64 = front_field(handshake->request, "X-Tailscale-Handshake");

	if (!base64 || !parse_initiation(handshake->initiation, base64))
		return "X-Tailscale-Handshake is missing or no Noise initiation";
	return NULL;
}

static void enqueue(struct transport_loop *loop, struct handshake *handshake)
{
	handshake->next = NULL;
	*loop->handshakes_tail = handshake;
	loop->handshakes_tail = &handshake->next;
	loop->n_handshakes++;
}

void handshake_serve(struct front_request *request, void *user)
{
	struct transport_loop *loop = transport_loop_here();
	struct handshake *handshake;
	const char *wrong;

	(void)user;
	handshake =
		loop->n_handshakes < HANDSHAKES_WAITING_MAX ? calloc(1, sizeof(*handshake)) : NULL;
	if (!handshake) {
		front_header(request, "Retry-After", "5");
		front_reply_text(request, 503, "too many clients at once");
		return;
	}
	handshake->request = request;
	handshake->websocket = strcmp(front_method(request), "GET") == 0;
	wrong = handshake->websocket ? read_websocket(handshake) : read_upgrade(handshake);
	if (wrong) {
		front_reply_text(request, 400, wrong);
		free(handshake);
		return;
	}
	enqueue(loop, handshake);
}

/* Proxies that know GET alone, or take the field away, are the usual cause. */
void handshake_refuse(struct front_request *request, void *user)
{
	(void)user;
	front_reply_text(request, 400,
		"missing next protocol: the request has no \"Upgrade: " PROTOCOL "\"; a reverse "
		"proxy in between must pass Upgrade on, also for POST");
}

/* ---- answers ---- */

/* Head and response in one: they may share a segment. Heap. */
static uint8_t *make_prelude(
	const struct handshake *handshake, const uint8_t *frame, size_t frame_len, size_t *len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, len);
	uint8_t header[WEBSOCKET_HEADER_MAX];
	size_t n;

	if (!out)
		return NULL;
	fputs("HTTP/1.1 101 Switching Protocols\r\n", out);
	if (handshake->websocket) {
		fprintf(out,
			"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
			"Sec-WebSocket-Protocol: " PROTOCOL "\r\n\r\n",
			handshake->accept);
		n = websocket_header(header + sizeof(header), frame_len);
		fwrite(header + sizeof(header) - n, 1, n, out);
	} else {
		fputs("Upgrade: " PROTOCOL "\r\nConnection: upgrade\r\n\r\n", out);
	}
	fwrite(frame, 1, frame_len, out);
	if (fclose(out) == 0)
		return (uint8_t *)text;
	free(text);
	return NULL;
}

/* What goes wrong after the 101 is said in a frame of its own. */
static void refuse(struct handshake *handshake, struct io_stream *stream)
{
	uint8_t frame[TS2021_HEADER_LEN + TS2021_ERROR_MAX];
	size_t frame_len = ts2021_error(
		frame, "the handshake is not for this server's key: ask /key for it again");
	struct iovec iov = {0};

	iov.iov_base = make_prelude(handshake, frame, frame_len, &iov.iov_len);
	if (iov.iov_base)
		io_stream_writev(stream, &iov, 1);
	free(iov.iov_base);
	io_stream_close(stream);
	free(stream);
	transport_count(&transport.counts.handshakes_failed, 1);
}

static uint8_t *make_early(size_t *len)
{
	size_t json = strlen(transport.early);
	uint8_t *text = malloc(TS2021_EARLY_HEADER_LEN + json);

	if (!text)
		return NULL;
	ts2021_early_header(text, (uint32_t)json);
	memcpy(text + TS2021_EARLY_HEADER_LEN, transport.early, json);
	*len = TS2021_EARLY_HEADER_LEN + json;
	return text;
}

struct accepted {
	uint8_t response[TS2021_RESPONSE_LEN];
	struct public_key machine;
	uint16_t version;
	struct ts2021_keys keys;
};

/* False: no memory. */
static bool begin_session(struct transport_loop *loop, const struct handshake *handshake,
	struct io_stream *stream, const struct accepted *accepted)
{
	struct session *session =
		session_new(loop, stream, &accepted->machine, accepted->version, &accepted->keys);

	if (!session)
		return false;
	session->prelude = make_prelude(
		handshake, accepted->response, sizeof(accepted->response), &session->prelude_len);
	session->early_text = make_early(&session->early_len);
	if (handshake->websocket)
		session->websocket = calloc(1, sizeof(*session->websocket));
	if (!session->prelude || !session->early_text ||
		(handshake->websocket && !session->websocket))
		session->broken = true; /* closed when it is flushed */
	return true;
}

static void run_one(struct transport_loop *loop, struct handshake *handshake)
{
	struct io_stream *stream = front_upgrade(handshake->request);
	struct accepted accepted;

	if (!stream)
		return;
	transport_count(&transport.counts.handshakes, 1);
	if (ts2021_accept(&transport.server, handshake->initiation, accepted.response,
		    &accepted.machine, &accepted.version, &accepted.keys) != 0) {
		refuse(handshake, stream);
	} else if (!begin_session(loop, handshake, stream, &accepted)) {
		io_stream_close(stream);
		free(stream);
	}
	secret_zero(&accepted, sizeof(accepted));
}

static struct handshake *dequeue(struct transport_loop *loop)
{
	struct handshake *handshake = loop->handshakes;

	if (!handshake)
		return NULL;
	loop->handshakes = handshake->next;
	if (!loop->handshakes)
		loop->handshakes_tail = &loop->handshakes;
	loop->n_handshakes--;
	return handshake;
}

void handshakes_run(struct transport_loop *loop)
{
	struct handshake *handshake;

	for (unsigned i = 0; i < HANDSHAKES_A_TURN && (handshake = dequeue(loop)); i++) {
		run_one(loop, handshake);
		free(handshake);
	}
}

void handshakes_drop(struct transport_loop *loop)
{
	struct handshake *handshake;

	while ((handshake = dequeue(loop))) {
		front_reply_text(handshake->request, 503, "the server is about to stop");
		free(handshake);
	}
}
