/* SPDX-License-Identifier: BSD-3-Clause */
#include "complete.h"

/* All the work is done by `tailplane __complete`, so that the script never grows old. */
const char completion_bash[] =
	"# bash completion for tailplane; made by `tailplane completion bash`\n"
	"_tailplane()\n"
	"{\n"
	"\tlocal lines\n"
	"\tmapfile -t lines < <(\"$1\" __complete \"${COMP_LINE:0:COMP_POINT}\" "
	"\"$COMP_WORDBREAKS\" 2>/dev/null)\n"
	"\tCOMPREPLY=(\"${lines[@]:1}\")\n"
	"\t[[ ${lines[0]-} == files ]] && compopt -o default\n"
	"\treturn 0\n"
	"}\n"
	"complete -F _tailplane tailplane\n";
