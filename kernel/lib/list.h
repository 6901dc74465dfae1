/*
 * list.h - a doubly linked list whose links live inside the objects                         floor 0
 *
 * Allocates nothing and knows nothing of what it links.
 *
 * IDEA
 *          +--------------------------------------------+
 *          v                                            |
 *        head <--> node in A <--> node in B <--> node in C        a ring; the head is no object
 *   An object that stands on a list has a `struct list` as a member; container_of() leads back.
 *   An object that stands on no list has a node that points to itself.
 *
 * INVARIANTS (tested at each link and unlink; the kernel stops at the first that is broken)
 *   L1  node->next->prev == node and node->prev->next == node
 *
 * LOCKS     the caller's.
 * LINUX     include/linux/list.h, with CONFIG_DEBUG_LIST for the same tests.
 */
#ifndef LIB_LIST_H
#define LIB_LIST_H

#include "lib/types.h"

struct list {
	struct list *next;
	struct list *prev;
};

/* Reports broken links and does not return. In panic.c; the host tests have their own. */
__noreturn void list_corrupt(const char *what, const struct list *node);

/* A list head (or a node) for static storage: struct list all = LIST_INIT(all); */
#define LIST_INIT(name)                                                                            \
	{                                                                                          \
		&(name), &(name)                                                                   \
	}

/* list_init - an empty head, or a node on no list. */
static inline void list_init(struct list *node)
{
	node->next = node;
	node->prev = node;
}

/* list_empty - is this head without nodes (or: does this node stand on no list)? */
static inline bool list_empty(const struct list *head)
{
	return head->next == head;
}

/* Links node between two neighbours. */
static inline void list_link(struct list *node, struct list *prev, struct list *next)
{
	if (unlikely(prev->next != next || next->prev != prev))
		list_corrupt("link: the neighbours do not point at each other", node);
	next->prev = node;
	node->next = next;
	node->prev = prev;
	prev->next = node;
}

/* list_add - put node first. */
static inline void list_add(struct list *node, struct list *head)
{
	list_link(node, head, head->next);
}

/* list_add_tail - put node last; before a node instead of a head: put it before that one. */
static inline void list_add_tail(struct list *node, struct list *head)
{
	list_link(node, head->prev, head);
}

/* list_del - take node out; afterwards it stands on no list. Taking it out twice does nothing. */
static inline void list_del(struct list *node)
{
	struct list *prev = node->prev, *next = node->next;

	if (unlikely(prev->next != node || next->prev != node))
		list_corrupt("unlink: a neighbour does not point back", node);
	prev->next = next;
	next->prev = prev;
	list_init(node);
}

/* list_move - take node out of its list and put it first on another (or the same) one. */
static inline void list_move(struct list *node, struct list *head)
{
	list_del(node);
	list_add(node, head);
}

/* list_move_tail - take node out of its list and put it last. */
static inline void list_move_tail(struct list *node, struct list *head)
{
	list_del(node);
	list_add_tail(node, head);
}

/* list_splice_tail - append all nodes of `from` to `head`; `from` is empty afterwards. */
static inline void list_splice_tail(struct list *from, struct list *head)
{
	struct list *first = from->next, *last = from->prev, *tail = head->prev;

	if (list_empty(from))
		return;
	if (unlikely(first->prev != from || last->next != from || tail->next != head))
		list_corrupt("splice: a neighbour does not point back", from);
	tail->next = first;
	first->prev = tail;
	last->next = head;
	head->prev = last;
	list_init(from);
}

/* list_first - the first node, or NULL when the list is empty. */
static inline struct list *list_first(const struct list *head)
{
	return list_empty(head) ? NULL : head->next;
}

/* list_last - the last node, or NULL when the list is empty. */
static inline struct list *list_last(const struct list *head)
{
	return list_empty(head) ? NULL : head->prev;
}

/* The object that contains this node. */
#define list_entry(node, type, member) container_of(node, type, member)

/* The first or last object; the list must not be empty. */
#define list_first_entry(head, type, member) list_entry((head)->next, type, member)
#define list_last_entry(head, type, member)  list_entry((head)->prev, type, member)

/* The first object, or NULL. */
#define list_first_entry_or_null(head, type, member)                                               \
	(list_empty(head) ? NULL : list_first_entry(head, type, member))

/* The object behind this one; the head's "object" behind the last. */
#define list_next_entry(pos, member) list_entry((pos)->member.next, __typeof__(*(pos)), member)

/* Each object in turn; the body must not take `pos` off the list. */
#define list_for_each_entry(pos, head, member)                                                     \
	for (pos = list_first_entry(head, __typeof__(*(pos)), member); &(pos)->member != (head);   \
		pos = list_next_entry(pos, member))

/* Each object in turn; the body may take `pos` off the list and free it. */
#define list_for_each_entry_safe(pos, tmp, head, member)                                           \
	for (pos = list_first_entry(head, __typeof__(*(pos)), member),                             \
	    tmp = list_next_entry(pos, member);                                                    \
		&(pos)->member != (head); pos = tmp, tmp = list_next_entry(tmp, member))

#endif
