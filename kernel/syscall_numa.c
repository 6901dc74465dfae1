/*
 * syscall_numa.c - the calls about CPUs' nodes and where memory is     floor 7, below: mm/mbind.c
 *
 * getcpu, mbind, set_mempolicy, get_mempolicy, move_pages: copies masks, lists and numbers from and to ring 3, checks them
 * in Linux's order, calls the verbs of mm/mbind.h.
 *
 * IDEA      a mask of nodes in ring 3: `maxnode` counts one bit more than are read
 *             word 0 | word 1 | ... | word 15 | beyond       bits of nodes that are not there are dropped, as long as Linux
 *             ^ bits 0 .. nr_nodes-1                         could have such a node (1,024); beyond: -EINVAL
 *
 * LOCKS     none of its own
 * LINUX     mm/mempolicy.c, mm/migrate.c: kernel_move_pages, kernel/sys.c: getcpu
 */
#include "syscall.h"

#include "mm/buddy.h"
#include "mm/fault.h"
#include "mm/mbind.h"
#include "mm/uaccess.h"
#include "sched.h"
#include "task.h"
#include <abi/errno.h>

#define LINUX_NODES 1024ul /* MAX_NUMNODES of Debian's kernel */

/* Where it runs at this moment; it may have been moved before it reads the answer. The third argument is history. */
s64 sys_getcpu(struct regs *r)
{
	u32 __user *cpu = (u32 __user *)ARG0(r), *node = (u32 __user *)ARG1(r);

	if (cpu && put_user_u32(cpu, cpu_id()))
		return -EFAULT;
	return node ? put_user_u32(node, this_cpu()->node) : 0;
}

/* --- masks of nodes ----------------------------------------------------------------------------------- */

static bool node_has_memory(unsigned node)
{
	return node < nr_nodes && (node_zone(node, ZONE_DMA32)->managed_pages ||
					  node_zone(node, ZONE_NORMAL)->managed_pages);
}

static u32 nodes_with_memory(void)
{
	u32 mask = 0;

	for (unsigned node = 0; node < nr_nodes; node++)
		mask |= (u32)node_has_memory(node) << node;
	return mask;
}

/* What ring 3 wrote there: those of the nodes that have memory, and whether any bit was set at all. Linux: get_nodes */
static s64 read_nodes(vaddr_t from, u64 maxnode, u32 *nodes, bool *any)
{
	u64 word;

	*nodes = 0;
	*any = false;
	if (--maxnode == 0 || !from)
		return 0;
	if (maxnode > PAGE_SIZE * 8)
		return -EINVAL;
	for (u64 at = 0; at < maxnode; at += 64) {
		if (copy_from_user(&word, (const void __user *)(from + at / 8), sizeof(word)))
			return -EFAULT;
		if (maxnode - at < 64)
			word &= (1ul << (maxnode - at)) - 1;
		if (word && at >= LINUX_NODES)
			return -EINVAL;
		*any |= word != 0;
		if (at == 0)
			*nodes = (u32)word & nodes_with_memory();
	}
	return 0;
}

/* One word is enough for all nodes; what the caller has room for besides becomes 0. Linux: copy_nodes_to_user */
static s64 write_nodes(vaddr_t to, u64 maxnode, u32 nodes)
{
	u64 bytes = ALIGN_UP(maxnode - 1, 64) / 8, word = nodes;

	if (bytes > PAGE_SIZE)
		return -EINVAL;
	for (u64 at = 0; at < bytes; at += 8, word = 0)
		if (copy_to_user((void __user *)(to + at), &word, sizeof(word)))
			return -EFAULT;
	return 0;
}

/* A mode and a mask as a policy. Linux: sanitize_mpol_flags, mpol_new, mpol_set_nodemask; without flags of the mode */
static s64 make_policy(u32 mode, u32 nodes, bool any, u32 *policy)
{
	if (mode >= MPOL_MAX)
		return -EINVAL;
	if (mode == MPOL_PREFERRED && !any)
		mode = MPOL_LOCAL; /* "no node" is how it was said before LOCAL had a name */
	if (mode == MPOL_DEFAULT || mode == MPOL_LOCAL) {
		*policy = policy_make(mode, 0);
		return any ? -EINVAL : 0;
	}
	if (mode == MPOL_PREFERRED)
		nodes &= -nodes;
	*policy = policy_make(mode, nodes);
	return nodes ? 0 : -EINVAL;
}

/* --- policies ------------------------------------------------------------------------------------------- */

s64 sys_mbind(struct regs *r)
{
	u64 flags = (u32)ARG5(r);
	u32 nodes, policy;
	bool any;
	s64 error;

	if (ARG2(r) >= MPOL_MAX)
		return -EINVAL;
	error = read_nodes(ARG3(r), ARG4(r), &nodes, &any);
	if (error)
		return error;
	if (flags & ~(u64)(MPOL_MF_STRICT | MPOL_MF_MOVE | MPOL_MF_MOVE_ALL))
		return -EINVAL;
	error = make_policy((u32)ARG2(r), nodes, any, &policy);
	return error ? error
		     : mbind_range(current_thread()->mm, ARG0(r), ARG1(r), policy, (u32)flags);
}

s64 sys_set_mempolicy(struct regs *r)
{
	u32 nodes, policy;
	bool any;
	s64 error;

	if ((u32)ARG0(r) >= MPOL_MAX)
		return -EINVAL;
	error = read_nodes(ARG1(r), ARG2(r), &nodes, &any);
	if (!error)
		error = make_policy((u32)ARG0(r), nodes, any, &policy);
	if (error)
		return error;
	mempolicy_use(policy);
	current_thread()->mempolicy = policy;
	return 0;
}

/* The node of the page at addr, which is brought in for it. Linux: lookup_node */
static s64 node_of_page(vaddr_t addr)
{
	struct mm *mm = current_thread()->mm;
	vaddr_t page = addr & PAGE_MASK;
	u64 faults = 0;
	int error = fault_populate(mm, page, page + PAGE_SIZE, false, &faults);

	return error ? -EFAULT : page_node_at(mm, addr, true);
}

/* The number that is asked for, and the nodes of the policy. Linux: do_get_mempolicy */
static s64 look_up(vaddr_t addr, u64 flags, u32 *nodes)
{
	u32 policy = current_thread()->mempolicy;
	s64 error;

	*nodes = nodes_with_memory();
	if (flags & MPOL_F_MEMS_ALLOWED)
		return flags == MPOL_F_MEMS_ALLOWED ? 0 : -EINVAL;
	if (!(flags & MPOL_F_ADDR) && (addr || flags & MPOL_F_NODE))
		return -EINVAL;
	if (flags & MPOL_F_ADDR) {
		error = mbind_policy_at(current_thread()->mm, addr, &policy);
		if (error)
			return error;
	}
	*nodes = policy_nodes(policy);
	return flags & MPOL_F_NODE ? node_of_page(addr) : policy_mode(policy);
}

s64 sys_get_mempolicy(struct regs *r)
{
	u64 flags = ARG4(r);
	u32 nodes;
	s64 found;

	if (ARG1(r) && ARG2(r) < nr_nodes)
		return -EINVAL;
	if (flags & ~(u64)(MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED))
		return -EINVAL;
	found = look_up(ARG3(r), flags, &nodes);
	if (found < 0)
		return found;
	if (ARG0(r) && put_user_u32((u32 __user *)ARG0(r), (u32)found))
		return -EFAULT;
	return ARG1(r) ? write_nodes(ARG1(r), ARG2(r), nodes) : 0;
}

/* --- move_pages --------------------------------------------------------------------------------------- */

/* Number i: where it is, or with a list of nodes where it is now; `failed` counts those that could not come. */
static s64 one_page(struct mm *mm, const struct regs *r, u64 i, u64 *failed)
{
	vaddr_t page, nodes = ARG3(r);
	bool all = ARG5(r) & MPOL_MF_MOVE_ALL;
	int node, status;

	if (copy_from_user(&page, (const void __user *)(ARG2(r) + i * sizeof(page)), sizeof(page)))
		return -EFAULT;
	if (!nodes) {
		status = page_node_at(mm, page, false);
	} else {
		if (copy_from_user(
			    &node, (const void __user *)(nodes + i * sizeof(node)), sizeof(node)))
			return -EFAULT;
		if (node < 0 || !node_has_memory((unsigned)node))
			return -ENODEV;
		status = page_move_to(mm, page, (unsigned)node, all);
		*failed += status == -EBUSY || status == -ENOMEM;
	}
	return put_user_u32((u32 __user *)(ARG4(r) + i * sizeof(u32)), (u32)status);
}

static s64 each_page(struct mm *mm, const struct regs *r)
{
	u64 failed = 0;
	s64 error;

	for (u64 i = 0; i < ARG1(r); i++) {
		error = thread_killed() ? -EINTR : one_page(mm, r, i, &failed);
		if (error)
			return error;
		preempt_point();
	}
	return (s64)failed;
}

s64 sys_move_pages(struct regs *r)
{
	struct task *t = NULL;
	struct mm *mm;
	s64 result;

	if ((u32)ARG5(r) & ~(u32)(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL))
		return -EINVAL;
	if (!(u32)ARG0(r))
		return each_page(current_thread()->mm, r);
	t = task_find((u32)ARG0(r));
	if (!t)
		return -ESRCH;
	mm = task_mm_user(t);
	task_put(t);
	if (!mm)
		return -EINVAL; /* as of a thread of Linux's kernel: no space */
	result = each_page(mm, r);
	task_drop_mm(mm);
	return result;
}
