/* SPDX-License-Identifier: BSD-3-Clause */
/* Protocol library. */
#include "names.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static size_t without_suffix(const char *name, size_t len)
{
	static const char *const suffixes[] = {".localdomain", ".local", ".lan"};

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
		size_t n = strlen(suffixes[i]);

		if (len > n && !strncasecmp(name + len - n, suffixes[i], n))
			return len - n;
	}
	return len;
}

static void trim(char *label, size_t *len)
{
	size_t from = 0;

	while (*len && label[*len - 1] == '-')
		--*len;
	while (from < *len && label[from] == '-')
		from++;
	memmove(label, label + from, *len - from);
	*len -= from;
}

void label_from_hostname(char label[static LABEL_SIZE], const char *hostname)
{
	size_t len = without_suffix(hostname, strlen(hostname)), n = 0;

	for (size_t i = 0; i < len && n < LABEL_SIZE - 1; i++) {
		char c = hostname[i];

		if (is_letter(c))
			label[n++] = (char)(c | 0x20);
		else if (is_digit(c))
			label[n++] = c;
		else if (n && strchr(" .@_-", c))
			label[n++] = '-';
	}
	trim(label, &n);
	label[n] = 0;
	if (!n)
		memcpy(label, "node", 5);
}

void label_with_number(char out[static LABEL_SIZE], const char *label, unsigned n)
{
	char suffix[16];
	size_t keep = strlen(label), more = (size_t)snprintf(suffix, sizeof(suffix), "-%u", n);

	if (keep + more > LABEL_SIZE - 1)
		keep = LABEL_SIZE - 1 - more;
	while (keep && label[keep - 1] == '-')
		keep--;
	memcpy(out, label, keep);
	memcpy(out + keep, suffix, more + 1);
}

bool label_valid(const char *label)
{
	size_t len = strlen(label);

	if (!len || len > LABEL_SIZE - 1 || label[0] == '-' || label[len - 1] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!(label[i] >= 'a' && label[i] <= 'z') && !is_digit(label[i]) && label[i] != '-')
			return false;
	return true;
}

bool tag_valid(const char *tag)
{
	if (strncmp(tag, "tag:", 4) || !is_letter(tag[4]) || strlen(tag) > 4 + 63)
		return false;
	for (const char *c = tag + 5; *c; c++)
		if (!is_letter(*c) && !is_digit(*c) && *c != '-')
			return false;
	return true;
}

bool domain_name_valid(const char *name)
{
	size_t len = strlen(name), label = 0;

	if (!len || len > 253 || name[len - 1] == '.')
		return false;
	for (const char *c = name; *c; c++) {
		bool fine = (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '-' ||
			    *c == '_';

		if (*c == '.' ? !label : !fine || ++label >= LABEL_SIZE)
			return false;
		if (*c == '.')
			label = 0;
	}
	return true;
}
