/*
 * tree.c - a balanced binary tree (AVL) whose nodes live inside the objects                 floor 0
 *
 * Keeps order and balance; allocates nothing, compares nothing (see tree.h), locks nothing.
 *
 * IDEA
 *   The heights of two siblings differ by at most one, so a tree of n nodes is at most 1.44 log2 n
 *   high: 23 for 65,530. An insertion or removal changes heights on one path only. We climb it, and
 *   where the difference became two, we turn the tree there:
 *
 *            n                 c              If c leans inward (B is the higher one), c is turned
 *           / \               / \             the other way first.
 *          c   C    --->     A   n
 *         / \                   / \           The order A c B n C is the same on both sides.
 *        A   B                 B   C
 *
 *   What the owner keeps about whole subtrees (`augment`) is computed again on the same path.
 *
 * INVARIANTS (tree_check() tests every one)
 *   A1  every child points back at its parent, the root at none
 *   A2  height is 1 + the higher child's, and the children's differ by at most 1
 *   A3  every node stands behind the one before it
 *   A4  what a node says about its subtree is up to date
 *
 * LOCKS     the caller's.
 * LINUX     lib/rbtree.c: red-black, fewer turns and higher trees. vmas have had a maple tree since
 *           6.1: a B-tree whose nodes fill cache lines and are read without a lock.
 */
#include "lib/tree.h"

#define TREE_MAX_HEIGHT 64 /* no AVL tree that fits into memory is as high */

static int height_of(const struct tree_node *node)
{
	return node ? node->height : 0;
}

/* Positive: the left side is higher. */
static int lean(const struct tree_node *node)
{
	return height_of(node->left) - height_of(node->right);
}

/* Computes again what a node says about its subtree, from its children. */
static void refresh(const struct tree_root *root, struct tree_node *node)
{
	node->height = 1 + MAX(height_of(node->left), height_of(node->right));
	if (root->augment)
		root->augment(node);
}

/* Puts `new` (may be NULL) where `old` hangs: below its parent, or at the root. */
static void hang(struct tree_root *root, struct tree_node *old, struct tree_node *new)
{
	struct tree_node *parent = old->parent;

	if (!parent)
		root->root = new;
	else if (parent->left == old)
		parent->left = new;
	else
		parent->right = new;
	if (new)
		new->parent = parent;
}

/* The drawing above: the left child becomes the parent. Returns the new top. */
static struct tree_node *rotate_right(struct tree_root *root, struct tree_node *node)
{
	struct tree_node *child = node->left;

	hang(root, node, child);
	node->left = child->right;
	if (node->left)
		node->left->parent = node;
	child->right = node;
	node->parent = child;
	refresh(root, node);
	refresh(root, child);
	return child;
}

/* The drawing above, read in a mirror. */
static struct tree_node *rotate_left(struct tree_root *root, struct tree_node *node)
{
	struct tree_node *child = node->right;

	hang(root, node, child);
	node->right = child->left;
	if (node->right)
		node->right->parent = node;
	child->left = node;
	node->parent = child;
	refresh(root, node);
	refresh(root, child);
	return child;
}

/* Makes A2 true at one node whose children may differ by two. Returns the top of this subtree. */
static struct tree_node *balance(struct tree_root *root, struct tree_node *node)
{
	if (lean(node) > 1) {
		if (lean(node->left) < 0)
			rotate_left(root, node->left);
		return rotate_right(root, node);
	}
	if (lean(node) < -1) {
		if (lean(node->right) > 0)
			rotate_right(root, node->right);
		return rotate_left(root, node);
	}
	return node;
}

/*
 * Climbs from the lowest node whose subtree changed. Where a height is what it was, nothing above
 * changed its height either; but what the owner keeps may have, so then we go on to the root.
 */
static void repair(struct tree_root *root, struct tree_node *node)
{
	while (node) {
		int before = node->height;

		refresh(root, node);
		node = balance(root, node);
		if (node->height == before && !root->augment)
			return;
		node = node->parent;
	}
}

/*
 * tree_insert_at - insert a node at the free place found by walking down (see tree.h).
 *
 *   parent   the last node of that walk, NULL in an empty tree
 *   link     &parent->left, &parent->right or &root->root; *link is NULL
 *   Linux    rb_link_node, rb_insert_color
 */
void tree_insert_at(struct tree_root *root, struct tree_node *parent, struct tree_node **link,
	struct tree_node *node)
{
	*node = (struct tree_node){.parent = parent};
	*link = node;
	repair(root, node);
}

/* The node behind `node` takes its place; it has no left child. Returns where to repair from. */
static struct tree_node *replace_by_next(struct tree_root *root, struct tree_node *node)
{
	struct tree_node *next = node->right, *lowest;

	while (next->left)
		next = next->left;
	lowest = next;
	if (next->parent != node) {
		lowest = next->parent;
		hang(root, next, next->right);
		next->right = node->right;
		next->right->parent = next;
	}
	hang(root, node, next);
	next->left = node->left;
	next->left->parent = next;
	next->height = node->height; /* so that repair() sees whether the place changed */
	return lowest;
}

/*
 * tree_erase - take a node out of the tree.
 *
 *   after    the node is not linked; its owner may free or insert it again
 *   Linux    rb_erase
 */
void tree_erase(struct tree_root *root, struct tree_node *node)
{
	struct tree_node *lowest = node->parent;

	if (node->left && node->right)
		lowest = replace_by_next(root, node);
	else
		hang(root, node, node->left ? node->left : node->right);
	repair(root, lowest);
	*node = (struct tree_node){0};
}

/*
 * tree_augment_path - the owner changed something that augment() reads: compute it again from this
 * node to the root.
 */
void tree_augment_path(struct tree_root *root, struct tree_node *node)
{
	if (!root->augment)
		return;
	for (; node; node = node->parent)
		root->augment(node);
}

/* tree_first - the lowest node, NULL in an empty tree. */
struct tree_node *tree_first(const struct tree_root *root)
{
	struct tree_node *node = root->root;

	while (node && node->left)
		node = node->left;
	return node;
}

/* tree_last - the highest node, NULL in an empty tree. */
struct tree_node *tree_last(const struct tree_root *root)
{
	struct tree_node *node = root->root;

	while (node && node->right)
		node = node->right;
	return node;
}

/* tree_next - the node behind this one, NULL behind the last. */
struct tree_node *tree_next(const struct tree_node *node)
{
	if (node->right) {
		struct tree_node *next = node->right;

		while (next->left)
			next = next->left;
		return next;
	}
	while (node->parent && node == node->parent->right)
		node = node->parent;
	return node->parent;
}

/* tree_prev - the node before this one, NULL before the first. */
struct tree_node *tree_prev(const struct tree_node *node)
{
	if (node->left) {
		struct tree_node *prev = node->left;

		while (prev->right)
			prev = prev->right;
		return prev;
	}
	while (node->parent && node == node->parent->left)
		node = node->parent;
	return node->parent;
}

/* A checker's walk: what to ask, and the node passed before. */
struct check {
	tree_compare *compare;
	tree_augment_ok *augment_ok;
	const struct tree_node *before;
};

/*
 * Checks a subtree in order; the number of the first broken invariant, or 0. A1 is tested before a
 * step down, so even links that were overwritten cannot send the walk round in a circle.
 */
static int check_subtree(struct check *check, const struct tree_node *node,
	const struct tree_node *parent, int depth)
{
	int broken;

	if (!node)
		return 0;
	if (node->parent != parent || (node->left && node->left == node->right))
		return 1;
	if (depth > TREE_MAX_HEIGHT)
		return 2;
	broken = check_subtree(check, node->left, node, depth + 1);
	if (broken)
		return broken;
	if (check->compare && check->before && check->compare(check->before, node) >= 0)
		return 3;
	check->before = node;
	broken = check_subtree(check, node->right, node, depth + 1);
	if (broken)
		return broken;
	if (node->height != 1 + MAX(height_of(node->left), height_of(node->right)) ||
		lean(node) > 1 || lean(node) < -1)
		return 2;
	if (check->augment_ok && !check->augment_ok(node))
		return 4;
	return 0;
}

/*
 * tree_check - test A1 to A4 over the whole tree; `compare` and `augment_ok` may be NULL.
 *
 *   returns  0, or the number of the invariant that is broken: 1 for A1 ... 4 for A4
 */
int tree_check(const struct tree_root *root, tree_compare *compare, tree_augment_ok *augment_ok)
{
	struct check check = {compare, augment_ok, NULL};

	return check_subtree(&check, root->root, NULL, 1);
}
