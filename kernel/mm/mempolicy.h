/*
 * mempolicy.h - from which node a page is to come, if somebody has said so.                    floor 5
 *
 * A policy is a mode and a mask of nodes, in the bits VM_POLICY: of an area's flags (mbind), so that cutting, merging and
 * fork treat it as what it is, a property of the area; and of a thread (set_mempolicy). 0: nothing said.
 */
#ifndef MM_MEMPOLICY_H
#define MM_MEMPOLICY_H

#include "mm/vma.h"
#include <abi/mempolicy.h>

#define POLICY_MODE_SHIFT  20
#define POLICY_NODES_SHIFT 23
static inline u32 policy_make(unsigned mode, u32 nodes)
{
	return mode << POLICY_MODE_SHIFT | nodes << POLICY_NODES_SHIFT;
}
static inline unsigned policy_mode(u32 policy)
{
	return policy >> POLICY_MODE_SHIFT & 7;
}
static inline u32 policy_nodes(u32 policy)
{
	return policy >> POLICY_NODES_SHIFT & 0xff;
}

extern bool mempolicy_used; /* there has been one: until then nobody looks */
void mempolicy_use(u32 policy);

/*
 * mempolicy_wish - where the page at addr is to come from, as buddy's flags: the area's policy, else the current thread's.
 *   order    of the page; what is interleaved goes round by pages of this size
 *   locks    mm->lock held
 *   returns  0: from near this CPU
 *   Linux    get_vma_policy, policy_node, policy_nodemask
 */
__attribute__((cold)) u32 mempolicy_wish_slow(const struct vma *v, vaddr_t addr, unsigned order);
static __always_inline u32 mempolicy_wish(const struct vma *v, vaddr_t addr, unsigned order)
{
	return likely(!READ_ONCE(mempolicy_used)) ? 0 : mempolicy_wish_slow(v, addr, order);
}

/* May a page of the area be on that node as far as this policy goes? */
bool mempolicy_allows(u32 policy, unsigned node);

#endif
