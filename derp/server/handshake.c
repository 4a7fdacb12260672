/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From ServerKey to ServerInfo. Runs on: the connection's I/O loop; answers of admission come from
 * anywhere.
 *
 *   HANDSHAKE  ClientInfo is awaited
 *   ASKING     admission thinks; nothing is read
 *   CLAIMING   the key's owner lists it, so that whoever the client tells that it is here finds it
 *   UP         ServerInfo is sent
 */
#include <stdlib.h>
#include <string.h>

#include "relay.h"

struct derp_question {
	struct io_message message;
	struct derp_loop *loop;
	uint64_t conn;
	bool allowed;
	bool being_asked, answered; /* the loop's alone: inside `ask` */
};

/* ---- up ---- */

static void send_server_info(struct conn *conn)
{
	struct derp_server_info info = {.version = DERP_VERSION};
	uint8_t frame[DERP_INFO_FRAME_MAX];
	ssize_t len = derp_server_info_seal(frame, sizeof(frame), &info, &conn->handshake->key);

	output_control(conn, frame, (uint32_t)len);
}

static void forget_handshake(struct conn *conn)
{
	secret_zero(conn->handshake, sizeof(*conn->handshake));
	free(conn->handshake);
	conn->handshake = NULL;
}

void handshake_done(struct conn *conn)
{
	conn->state = CONN_UP;
	if (conn->not_ideal)
		COUNT(conn->loop, not_ideal_connections, 1);
	send_server_info(conn);
	if (conn->loop->health_len)
		output_control(conn, conn->loop->health, conn->loop->health_len);
	forget_handshake(conn);
	conn_timer(conn);
	if (conn->paused)
		input_go_on(conn);
}

static bool claim(struct conn *conn)
{
	conn->peer = peer_get(conn->loop, &conn->key);
	if (!conn->peer)
		return false;
	conn->same_next = conn->peer->conns;
	conn->peer->conns = conn;
	conn->state = CONN_CLAIMING;
	directory_claim(conn);
	return true;
}

/* ---- admission ---- */

static bool decided(struct conn *conn, bool allowed)
{
	conn->loop->asking--;
	conn->state = CONN_CLAIMING;
	if (allowed)
		return claim(conn);
	COUNT(conn->loop, handshakes_denied, 1);
	return false;
}

static void on_answer(struct io_message *message)
{
	struct derp_question *question = (struct derp_question *)message;
	struct conn *conn = conn_find(question->loop, question->conn);

	if (conn && conn->state == CONN_ASKING && !decided(conn, question->allowed))
		conn_close(conn);
	free(question);
}

void derp_answer(struct derp_question *question, bool allowed)
{
	question->allowed = allowed;
	if (io_loop_here() == question->loop->io && question->being_asked) {
		question->answered = true;
		return;
	}
	question->message.run = on_answer;
	io_post(question->loop->io, &question->message);
}

static bool ask(struct conn *conn, const struct derp_admission *admission)
{
	struct derp_question *question = calloc(1, sizeof(*question));
	bool allowed;

	if (!question)
		return false;
	question->loop = conn->loop;
	question->conn = conn->id;
	conn->state = CONN_ASKING;
	conn->loop->asking++;
	question->being_asked = true;
	admission->ask(admission->user, &conn->key, &conn->from.addr, question);
	question->being_asked = false;
	if (!question->answered) /* its message has not run: that is for this loop to do */
		return true;
	allowed = question->allowed;
	free(question);
	return decided(conn, allowed);
}

/* ---- ClientInfo ---- */

static bool take_info(struct conn *conn, const struct derp_client_info *info)
{
	const struct derp_server_conf *conf = &conn->loop->conf;

	conn->can_ack_pings = info->can_ack_pings;
	conn->prober = info->is_prober;
	conn->mesh = conf->has_mesh_key && info->has_mesh_key &&
		     secret_equal(&info->mesh_key, &conf->mesh_key, sizeof(conf->mesh_key));
	if (!info->app_name[0])
		return true;
	conn->app_name = strdup(info->app_name);
	return conn->app_name;
}

bool handshake_take(struct conn *conn, uint8_t *payload, uint32_t len)
{
	const struct derp_admission *admission = conn->loop->conf.admission;
	struct derp_client_info info;
	bool good;

	/* the key wants more alignment than malloc has */
	conn->handshake = aligned_alloc(_Alignof(struct handshake), sizeof(*conn->handshake));
	good = conn->handshake && derp_client_info_open(&info, &conn->key, &conn->handshake->key,
					  &conn->loop->conf.key, payload, len) == 0;
	if (!good) {
		COUNT(conn->loop, handshakes_failed, 1);
		return false;
	}
	good = take_info(conn, &info);
	secret_zero(&info, sizeof(info));
	if (!good)
		return false;
	if (admission && !conn->mesh)
		good = ask(conn, admission);
	else
		good = claim(conn);
	conn->paused = good && conn->state != CONN_UP;
	if (conn->paused)
		input_pause(conn);
	return good;
}
