/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>

#include <openssl/ssl.h>

/* Puts the socket below a connection; see tls_socket.c. False: no memory. */
bool tls_socket_set(SSL *tls, int fd);
/* A step of its handshake, with what is there now: as SSL_do_handshake, but that it does not ask
 * the socket again when all that was there has been read. */
int tls_socket_shake(SSL *tls);
/* A whole record was read ahead: it wakes nobody. */
bool tls_record_is_ahead(const SSL *tls);
