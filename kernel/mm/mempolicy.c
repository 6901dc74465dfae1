/*
 * mempolicy.c - from which node a page is to come, if somebody has said so           floor 5, below: buddy, sched
 *
 * Answers one question of the faults, by flags for the buddy. Who may say so, and what happens to pages that are there
 * already, is mbind.c's.
 *
 * IDEA      mode                nodes 1, 2       the page comes from
 *           BIND                                 1 or 2, the nearer first; else there is no memory
 *           PREFERRED_MANY                       1 or 2, the nearer first; else anywhere
 *           PREFERRED (one node: 1)              1; else anywhere
 *           INTERLEAVE                           1 2 1 2 1 2 ... by the page's number in its area; else anywhere
 *           LOCAL, DEFAULT                       near the CPU
 *
 * INVARIANTS  N5  what a fault gives an area bound to nodes never comes from another one     (`run numa policy`)
 * LOCKS     none: the area's under mm->lock, the thread's is its own
 * LINUX     mm/mempolicy.c. There a thread interleaves by what it allocates, here by address as areas do; nodes are not
 *           renumbered by cpusets, which do not exist.                                  docs/mm/numa.md
 */
#include "mm/mempolicy.h"

#include "mm/buddy.h"
#include "sched.h"

bool mempolicy_used;

/* mempolicy_use - this policy is about to be set somewhere. Before it is. */
void mempolicy_use(u32 policy)
{
	if (policy)
		WRITE_ONCE(mempolicy_used, true);
}

/* The nearest node of the mask that has memory. */
static unsigned nearest_node(u32 nodes)
{
	const struct zonelist *list = &zonelists[this_cpu()->node];

	for (unsigned i = 0; i < list->nr; i++)
		if (nodes >> zones[list->zones[i]].node & 1)
			return zones[list->zones[i]].node;
	return this_cpu()->node;
}

/* The n-th of the mask, round and round. */
static unsigned nth_node(u32 nodes, u64 n)
{
	unsigned count = 0;

	for (u32 left = nodes; left; left &= left - 1)
		count++;
	for (n %= count; n > 0; n--)
		nodes &= nodes - 1;
	return __builtin_ctz(nodes);
}

u32 mempolicy_wish_slow(const struct vma *v, vaddr_t addr, unsigned order)
{
	const struct thread *self = current_thread();
	u32 policy = v->flags & VM_POLICY, nodes;

	if (!policy && self->mm == v->mm)
		policy = self->mempolicy;
	nodes = policy_nodes(policy);
	switch (policy_mode(policy)) {
	case MPOL_BIND:
		return BUDDY_ON(nearest_node(nodes)) | BUDDY_AMONG(nodes);
	case MPOL_PREFERRED_MANY:
		return BUDDY_ON(nearest_node(nodes)) | BUDDY_FIRST(nodes);
	case MPOL_PREFERRED:
		return BUDDY_ON(__builtin_ctz(nodes));
	case MPOL_INTERLEAVE:
		return BUDDY_ON(nth_node(nodes, vma_index(v, addr) >> order));
	default:
		return 0;
	}
}

bool mempolicy_allows(u32 policy, unsigned node)
{
	u32 nodes = policy_nodes(policy);

	return nodes ? nodes >> node & 1 : node == this_cpu()->node;
}
