/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a relay says to our client. The first byte chooses: the head of an HTTP answer; frames
 * before the greeting; frames behind it. The second: in pieces of which length.
 */
#include <assert.h>
#include <stdio.h>

#include "derp_relay_end.h"
#include "http.h"
#include "target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct derp_session *session;

static void on_up(void *user)
{
	(void)user;
}

static void on_frame(void *user, const struct derp_frame *frame)
{
	static volatile uint8_t sum;
	struct derp_present present;

	(void)user;
	for (uint32_t i = 0; i < frame->len; i++)
		sum = sum ^ frame->payload[i];
	if (frame->type == DERP_PEER_PRESENT)
		derp_peer_present_get(&present, frame->payload, frame->len);
}

static void on_down(void *user, int error, const char *why)
{
	(void)user;
	assert(error < 0 && why);
	derp_session_close(session);
	session = NULL;
}

static void head(const uint8_t *data, size_t size)
{
	struct derp_response response;
	struct derp_target target;
	char url[600];
	ssize_t n = 0;

	for (size_t len = 0; len <= size && n == 0; len++) {
		n = derp_response_parse(data, len, &response);
		assert(n <= (ssize_t)len);
		assert(n <= 0 || (response.status >= 100 && response.status <= 999));
	}
	snprintf(url, sizeof(url), "%.*s", (int)(size < 599 ? size : 599), (const char *)data);
	if (derp_target_parse(&target, url, NULL) == 0) {
		char text[DERP_REQUEST_MAX];

		n = (ssize_t)derp_request_write(text, &target, true);
		assert(n < DERP_REQUEST_MAX && strcmp(text + n - 4, "\r\n\r\n") == 0);
		assert(memmem(text, (size_t)n, "\r\n\r\n", 4) == text + n - 4);
	}
}

static void frames(const uint8_t *data, size_t size, size_t step, bool greeted)
{
	static const struct derp_session_ops ops = {on_up, on_frame, on_down};
	struct relay_end end;

	relay_end_open(&end);
	session = relay_end_session(&end, &ops, NULL);
	if (greeted)
		relay_end_greet(&end, &(struct derp_server_info){.version = 2});
	for (size_t at = 0; at < size && session; at += step)
		relay_end_say(&end, data + at, size - at < step ? size - at : step);
	if (session)
		derp_session_close(session);
	session = NULL;
	relay_end_close(&end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size > 32768)
		return 0;
	if (data[0] % 3 == 0)
		head(data + 2, size - 2);
	else
		frames(data + 2, size - 2, 1 + 16u * data[1], data[0] % 3 == 2);
	return 0;
}
