/*
 * test_tree.c - lib/tree.c against a sorted array, tree_check() after every step.
 */
#include <string.h>

#include "check.h"
#include "lib/tree.h"

#define NR_KEYS 300

/* An object with a key; `sum` is what the tree keeps: the sum of the keys of the whole subtree. */
struct item {
	u64 key;
	u64 sum;
	struct tree_node node;
};

static struct item items[NR_KEYS];
static struct tree_root root;

static struct item *item_of(const struct tree_node *node)
{
	return tree_entry(node, struct item, node);
}

static u64 sum_of(const struct tree_node *node)
{
	return node ? item_of(node)->sum : 0;
}

static u64 right_sum(const struct tree_node *node)
{
	return item_of(node)->key + sum_of(node->left) + sum_of(node->right);
}

static void augment(struct tree_node *node)
{
	item_of(node)->sum = right_sum(node);
}

static bool augment_ok(const struct tree_node *node)
{
	return item_of(node)->sum == right_sum(node);
}

static int compare(const struct tree_node *a, const struct tree_node *b)
{
	return (item_of(a)->key > item_of(b)->key) - (item_of(a)->key < item_of(b)->key);
}

static void insert(struct item *item)
{
	struct tree_node **link = &root.root, *parent = NULL;

	while (*link) {
		parent = *link;
		link = item->key < item_of(parent)->key ? &parent->left : &parent->right;
	}
	tree_insert_at(&root, parent, link, &item->node);
}

static void start(bool with_sums)
{
	memset(items, 0, sizeof(items));
	root = (struct tree_root){.augment = with_sums ? augment : NULL};
	for (u64 i = 0; i < NR_KEYS; i++)
		items[i].key = 10 * i;
}

static int check(void)
{
	return tree_check(&root, compare, root.augment ? augment_ok : NULL);
}

/* The tree holds exactly the items marked in `present`, and can be walked both ways. */
static void compare_with_model(const bool *present)
{
	struct tree_node *node = tree_first(&root), *last = NULL;

	CHECK_EQ(check(), 0);
	for (usize i = 0; i < NR_KEYS; i++) {
		CHECK_EQ(tree_linked(&items[i].node), present[i]);
		if (!present[i])
			continue;
		CHECK(node == &items[i].node);
		CHECK(tree_prev(node) == last);
		last = node;
		node = tree_next(node);
	}
	CHECK(node == NULL);
	CHECK(tree_last(&root) == last);
}

static void random_run(bool with_sums)
{
	bool present[NR_KEYS] = {0};

	start(with_sums);
	for (u64 round = 0; round < check_rounds(20000); round++) {
		usize i = check_below(round / 2000 % 2 ? NR_KEYS : 20);

		if (present[i])
			tree_erase(&root, &items[i].node);
		else
			insert(&items[i]);
		present[i] = !present[i];
		compare_with_model(present);
	}
}

TEST(random_run_plain)
{
	random_run(false);
}

TEST(random_run_with_sums)
{
	random_run(true);
}

TEST(ascending_keys_stay_low)
{
	static struct item many[65530];

	start(true);
	for (usize i = 0; i < ARRAY_SIZE(many); i++) {
		many[i].key = i;
		insert(&many[i]);
	}
	CHECK_EQ(check(), 0);
	CHECK(root.root->height <= 23);
	CHECK_EQ(sum_of(root.root), (u64)ARRAY_SIZE(many) * (ARRAY_SIZE(many) - 1) / 2);
	for (usize i = 0; i < ARRAY_SIZE(many); i += 2)
		tree_erase(&root, &many[i].node);
	CHECK_EQ(check(), 0);
	while (root.root)
		tree_erase(&root, root.root);
	CHECK(tree_first(&root) == NULL && tree_last(&root) == NULL);
}

TEST(a_changed_key_is_told_upwards)
{
	start(true);
	for (usize i = 0; i < 50; i++)
		insert(&items[i]);
	items[33].key += 5;
	CHECK_EQ(check(), 4);
	tree_augment_path(&root, &items[33].node);
	CHECK_EQ(check(), 0);
}

/* Breaks each invariant on purpose: the checker must name it. */
TEST(checker_names_what_is_broken)
{
	struct tree_node *node;

	start(true);
	for (usize i = 0; i < 50; i++)
		insert(&items[i]);
	node = root.root->left;

	node->parent = node;
	CHECK_EQ(check(), 1);
	node->parent = root.root;
	root.root->left = root.root->right;
	CHECK_EQ(check(), 1);
	root.root->left = root.root;
	CHECK_EQ(check(), 1);
	root.root->left = node;
	node->height++;
	CHECK_EQ(check(), 2);
	node->height--;
	item_of(node)->key += 1000;
	CHECK_EQ(check(), 3);
	item_of(node)->key -= 1000;
	item_of(node)->sum++;
	CHECK_EQ(check(), 4);
	item_of(node)->sum--;
	CHECK_EQ(check(), 0);
}
