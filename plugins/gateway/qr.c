/* SPDX-License-Identifier: BSD-3-Clause */
/* QR codes for a terminal: two modules a character, dark on light whatever the terminal's colours.
 */
#include <qrencode.h>
#include <stdlib.h>
#include <string.h>

#include "gateway.h"
#include "secret.h"

#define QUIET 2

static bool dark(const QRcode *code, int x, int y)
{
	if (x < 0 || y < 0 || x >= code->width || y >= code->width)
		return false;
	return code->data[y * code->width + x] & 1;
}

char *qr_text(const char *text)
{
	/* indexed by upper | lower << 1 */
	static const char *const blocks[] = {" ", "\u2580", "\u2584", "\u2588"};
	QRcode *code = QRcode_encodeString(text, 0, QR_ECLEVEL_L, QR_MODE_8, 1);
	char *out = NULL;
	size_t len = 0;
	FILE *f = code ? open_memstream(&out, &len) : NULL;

	for (int y = -QUIET; f && y < code->width + QUIET; y += 2) {
		fputs("\033[30;107m", f);
		for (int x = -QUIET; x < code->width + QUIET; x++)
			fputs(blocks[dark(code, x, y) | dark(code, x, y + 1) << 1], f);
		fputs("\033[0m\n", f);
	}
	if (f)
		fclose(f);
	if (code)
		secret_zero(code->data, (size_t)code->width * (size_t)code->width);
	QRcode_free(code);
	return out;
}
