/* SPDX-License-Identifier: BSD-3-Clause */
/* The relay's own certificate: made once, kept, made again for another host and before its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "certificate.h"

#define NOW 1800000000
#define DAY 86400

static char folder[64], cert_path[128], key_path[128];

static struct certificate ensure(const char *host, time_t now)
{
	struct certificate cert;
	struct err err = {0};

	if (certificate_ensure(cert_path, key_path, host, now, &cert, &err))
		fail_msg("%s", err.msg);
	return cert;
}

static X509 *read_back(void)
{
	FILE *in = fopen(cert_path, "r");
	X509 *x509;

	assert_non_null(in);
	x509 = PEM_read_X509(in, NULL, NULL, NULL);
	assert_non_null(x509);
	assert_null(PEM_read_X509(in, NULL, NULL, NULL));
	fclose(in);
	return x509;
}

static void test_made_and_kept(void **state)
{
	struct certificate first = ensure("192.0.2.1", NOW), again;
	struct stat st;
	X509 *x509 = read_back();
	unsigned char hash[32];
	char hex[65];

	(void)state;
	assert_true(first.made);
	assert_int_equal(X509_digest(x509, EVP_sha256(), hash, NULL), 1);
	for (unsigned i = 0; i < sizeof(hash); i++)
		snprintf(hex + 2 * i, 3, "%02x", hash[i]);
	assert_string_equal(first.pin, hex);
	assert_int_equal(X509_check_ip_asc(x509, "192.0.2.1", 0), 1);
	assert_int_equal(X509_check_ip_asc(x509, "192.0.2.2", 0), 0);
	assert_int_equal(X509_verify(x509, X509_get0_pubkey(x509)), 1);
	X509_free(x509);
	assert_int_equal(stat(key_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	again = ensure("192.0.2.1", NOW + 300 * DAY);
	assert_false(again.made);
	assert_string_equal(again.pin, first.pin);
	assert_int_equal(again.ends, first.ends);
}

static void test_made_again(void **state)
{
	struct certificate first = ensure("relay.example.com", NOW), next;

	(void)state;
	assert_true(first.made);
	assert_false(ensure("relay.example.com", first.ends - 31 * DAY).made);
	next = ensure("relay.example.com", first.ends - 29 * DAY);
	assert_true(next.made);
	assert_string_not_equal(next.pin, first.pin);
	assert_true(ensure("relay.example.com", NOW).made); /* that one is not valid yet */
	assert_true(ensure("2001:db8::1", NOW).made);
	assert_false(ensure("2001:db8::1", NOW).made);
	assert_int_equal(truncate(key_path, 20), 0);
	assert_true(ensure("2001:db8::1", NOW).made);
	assert_int_equal(chmod(key_path, 0644), 0);
	assert_true(ensure("2001:db8::1", NOW).made); /* others may have read it */
	assert_int_equal(unlink(cert_path), 0);
	assert_true(ensure("2001:db8::1", NOW).made);
}

static void test_hosts(void **state)
{
	struct certificate cert;

	(void)state;
	assert_true(certificate_host_valid("relay.example.com"));
	assert_false(certificate_host_valid(""));
	assert_false(certificate_host_valid("a,DNS:b"));
	assert_int_not_equal(certificate_ensure(cert_path, key_path, "a b", NOW, &cert, NULL), 0);
}

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/certificate.XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(cert_path, sizeof(cert_path), "%s/relay.crt", folder);
	snprintf(key_path, sizeof(key_path), "%s/relay.key", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(cert_path);
	unlink(key_path);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_made_and_kept, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_made_again, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_hosts, make_folder, remove_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
