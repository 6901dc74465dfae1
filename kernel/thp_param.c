/*
 * thp_param.c - thp_anon= on the kernel's command line: the sizes of pages from boot on          floor 7
 *
 * IDEA      thp_anon=16K-64K,256K:madvise;2M:inherit      lists of sizes and ranges, a state for each list
 *           All of it is read before any of it is set: a word that is wrong leaves every size as it was.
 *
 * LINUX     mm/huge_memory.c: setup_thp_anon (6.12)                                    docs/mm/sizes.md
 */
#include "lib/string.h"
#include "mm/run.h"
#include "mm/thp.h"
#include "printk.h"
#include "report.h"

#define PARAM "thp_anon="

/* The order of a size such as 64K or 2M; *at moves behind it. 0: no size that pages may have. */
static unsigned size_order(const char **at)
{
	u64 kb = 0;

	for (; **at >= '0' && **at <= '9' && kb < 1000000; ++*at)
		kb = kb * 10 + (u64)(**at - '0');
	if (**at == 'M' || **at == 'm')
		kb <<= 10;
	else if (**at != 'K' && **at != 'k')
		return 0;
	++*at;
	for (unsigned n = RUN_MIN_ORDER; n <= HPAGE_PMD_ORDER; n++)
		if (kb == (PAGE_SIZE << n) >> 10)
			return n;
	return 0;
}

/* The state up to the next ; or the end of the word; false: there is none of this name. */
static bool size_state(const char **at, u8 *state)
{
	static const struct {
		const char *name;
		u8 state;
	} states[] = {{"always", SIZE_ALWAYS}, {"inherit", SIZE_INHERIT}, {"madvise", SIZE_MADVISE},
		{"never", SIZE_NEVER}};

	for (unsigned i = 0; i < ARRAY_SIZE(states); i++) {
		u64 len = strlen(states[i].name);

		if (strncmp(*at, states[i].name, len))
			continue;
		*at += len;
		*state = states[i].state;
		return !**at || **at == ' ' || **at == ';';
	}
	return false;
}

/* SIZE[-SIZE][,...]:STATE into wanted[]; *at moves behind it. */
static bool read_list(const char **at, u8 wanted[HPAGE_PMD_ORDER + 1])
{
	u32 orders = 0;
	u8 state;

	do {
		unsigned first = size_order(at), last = first;

		if (first && **at == '-') {
			++*at;
			last = size_order(at);
		}
		if (!first || last < first)
			return false;
		orders |= (2u << last) - (1u << first);
	} while (**at == ',' && ++*at);
	if (**at != ':')
		return false;
	++*at;
	if (!size_state(at, &state))
		return false;
	for (unsigned n = 0; n <= HPAGE_PMD_ORDER; n++)
		if (orders >> n & 1)
			wanted[n] = state;
	return true;
}

/*
 * thp_param_init - do what thp_anon= says, if it stands on the command line before cmd=.
 *
 *   locks    none: start-up, before khugepaged
 *   Linux    setup_thp_anon
 */
void thp_param_init(const char *cmdline)
{
	const char *end = strstr(cmdline, "cmd="), *at = strstr(cmdline, PARAM);
	u8 wanted[HPAGE_PMD_ORDER + 1];
	bool good;

	if (!at || (end && at > end) || (at != cmdline && at[-1] != ' '))
		return;
	memcpy(wanted, thp_settings.size, sizeof(wanted));
	at += strlen(PARAM);
	do
		good = read_list(&at, wanted);
	while (good && *at == ';' && *++at);
	if (!good || at[-1] == ';') {
		printk("thp_anon: not understood from \"%s\" on, nothing is set", at);
		return;
	}
	for (unsigned n = RUN_MIN_ORDER; n <= HPAGE_PMD_ORDER; n++)
		run_set_size(n, wanted[n]);
}
