/* SPDX-License-Identifier: BSD-3-Clause */
#include "text.h"

#include <err.h>
#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

bool text_init(void)
{
	setlocale(LC_CTYPE, "");
	bool utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;

	/* Widths are those of UTF-8 whatever the locale says: that is what the daemon sends. */
	setlocale(LC_CTYPE, "C.UTF-8");
	return utf8;
}

/* One code point at `text`; answers its bytes. A byte that starts none is a code point of its own.
 */
static size_t decode(const char *text, uint32_t *code)
{
	const uint8_t *p = (const uint8_t *)text;
	size_t len = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc0 ? 2 : 1;

	*code = len == 1 ? p[0] : p[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			*code = p[0];
			return 1;
		}
		*code = *code << 6 | (p[i] & 0x3f);
	}
	return len;
}

static size_t code_width(uint32_t code)
{
	int width = wcwidth((wchar_t)code);

	return width < 0 ? 1 : (size_t)width;
}

size_t text_width(const char *text)
{
	size_t width = 0;
	uint32_t code;

	while (*text != '\0') {
		text += decode(text, &code);
		width += code_width(code);
	}
	return width;
}

size_t text_clip(const char *text, size_t columns)
{
	const char *p = text;
	size_t width = 0;
	uint32_t code;

	while (*p != '\0') {
		size_t len = decode(p, &code);

		width += code_width(code);
		if (width > columns)
			break;
		p += len;
	}
	return (size_t)(p - text);
}

static bool is_control(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 ||
	       (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

static size_t escape(char out[12], uint32_t code)
{
	switch (code) {
	case '\n':
		return (size_t)sprintf(out, "\\n");
	case '\t':
		return (size_t)sprintf(out, "\\t");
	default:
		return (size_t)sprintf(out, code < 0x100 ? "\\x%02x" : "\\u%04x", code);
	}
}

/* Bytes of a colour sequence (ESC [ numbers m), or 0. */
static size_t colour_len(const char *text)
{
	if (text[0] != '\033' || text[1] != '[')
		return 0;
	size_t len = 2 + strspn(text + 2, "0123456789;");

	return text[len] == 'm' ? len + 1 : 0;
}

char *text_clean(const char *text, unsigned keep)
{
	char *clean = text_alloc(strlen(text) * 4 + 12, 1), *out = clean;
	uint32_t code;

	while (*text != '\0') {
		size_t colour = keep & KEEP_COLOURS ? colour_len(text) : 0;
		size_t len = colour > 0 ? colour : decode(text, &code);

		if (colour == 0 && is_control(code) && !(keep & KEEP_LINES && code == '\n')) {
			out += escape(out, code);
		} else {
			memcpy(out, text, len);
			out += len;
		}
		text += len;
	}
	*out = '\0';
	return clean;
}

void *text_alloc(size_t count, size_t size)
{
	void *p = calloc(count ? count : 1, size);

	if (p == NULL)
		errx(1, "out of memory");
	return p;
}

void *text_grow(void *p, size_t count, size_t size)
{
	p = reallocarray(p, count ? count : 1, size);
	if (p == NULL)
		errx(1, "out of memory");
	return p;
}

char *text_copy(const char *text, size_t len)
{
	char *copy = text_alloc(len + 1, 1);

	memcpy(copy, text, len);
	return copy;
}

char *text_printf(const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	int len = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (len < 0)
		errx(1, "out of memory");
	return text;
}
