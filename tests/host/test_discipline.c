/*
 * test_discipline.c - servers/console/discipline.c: what each key does, what is seen, what is read.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "servers/console/discipline.h"

#define ICANON 0000002u
#define ECHO   0000010u
#define ISIG   0000001u
#define NOFLSH 0000200u
#define ECHONL 0000100u
#define IEXTEN 0100000u
#define VTIME  5
#define VMIN   6

static struct discipline d;
static char screen[200000];
static size_t shown;

static void put(void *ctx, const char *bytes, size_t n)
{
	(void)ctx;
	CHECK(shown + n < sizeof(screen));
	memcpy(screen + shown, bytes, n);
	shown += n;
	screen[shown] = '\0';
}

static void begin(void)
{
	discipline_init(&d, put, NULL);
	shown = 0;
	screen[0] = '\0';
}

static void type(const char *text)
{
	discipline_type(&d, (const uint8_t *)text, strlen(text));
	CHECK(discipline_check(&d));
}

/* What the next read gives, as text. */
static const char *next_read(size_t n)
{
	static char text[TYPED_BYTES + 1];
	long got = discipline_read(&d, (uint8_t *)text, n);

	CHECK(discipline_check(&d));
	if (got == DISCIPLINE_NOTHING)
		return "(nothing)";
	text[got] = '\0';
	return text;
}

/* Everything on the screen since the last look. */
static const char *seen(void)
{
	shown = 0;
	return screen;
}

static void set_lflag(uint32_t clear, uint32_t set)
{
	struct terminal_settings s = d.settings;

	s.lflag = (s.lflag & ~clear) | set;
	discipline_set(&d, &s);
	CHECK(discipline_check(&d));
}

TEST(a_line_is_read_when_it_ends)
{
	begin();
	type("ls");
	CHECK_STR(next_read(100), "(nothing)");
	CHECK(!discipline_readable(&d));
	type(" -l\r");
	CHECK(discipline_readable(&d));
	CHECK_STR(seen(), "ls -l\r\n");
	CHECK_STR(next_read(100), "ls -l\n");
	CHECK_STR(next_read(100), "(nothing)");
}

TEST(one_read_gives_one_line_or_a_part_of_it)
{
	begin();
	type("one\ntwo\n");
	CHECK_STR(next_read(2), "on");
	CHECK_STR(next_read(100), "e\n");
	CHECK_STR(next_read(0), "");
	CHECK_STR(next_read(100), "two\n");
}

TEST(backspace_erases_what_was_shown)
{
	begin();
	type("ab\177");
	CHECK_STR(seen(), "ab\b \b");
	type("\177\177\177c\n");
	CHECK_STR(seen(), "\b \bc\r\n");
	CHECK_STR(next_read(100), "c\n");
}

TEST(a_control_character_takes_two_columns)
{
	begin();
	type("\001\177");
	CHECK_STR(seen(), "^A\b \b\b \b");
}

TEST(a_tab_is_erased_as_wide_as_it_was)
{
	begin();
	discipline_write(&d, "$ ", 2);
	type("ab\t\177");
	CHECK_STR(seen(), "$ ab\t\b \b\b \b\b \b\b \b");
}

TEST(a_character_of_two_bytes_is_erased_at_once)
{
	begin();
	type("\303\244\177x\n");
	CHECK_STR(seen(), "\303\244\b \bx\r\n");
	CHECK_STR(next_read(100), "x\n");
}

TEST(ctrl_u_and_ctrl_w)
{
	begin();
	type("old\025new word\027line\n");
	CHECK_STR(next_read(100), "new line\n");
	CHECK_STR(seen(), "old\b \b\b \b\b \bnew word\b \b\b \b\b \b\b \bline\r\n");
	type("two  \027\n");
	CHECK_STR(next_read(100), "\n");
}

TEST(ctrl_r_shows_the_line_again)
{
	begin();
	type("abc\022\n");
	CHECK_STR(seen(), "abc^R\r\nabc\r\n");
	CHECK_STR(next_read(100), "abc\n");
}

TEST(ctrl_v_takes_a_key_as_it_is)
{
	begin();
	type("a\026\003b\n");
	CHECK_EQ(d.signals, 0);
	CHECK_STR(next_read(100), "a\003b\n");
}

TEST(ctrl_d_ends_the_file_or_the_part)
{
	begin();
	type("\004");
	CHECK(discipline_readable(&d));
	CHECK_STR(next_read(100), "");
	CHECK_STR(next_read(100), "(nothing)");
	type("abc\004");
	CHECK_STR(next_read(3), "abc"); /* and the Ctrl-D with it: no end of file follows */
	CHECK_STR(next_read(100), "(nothing)");
	type("x\004\004y\n");
	CHECK_STR(next_read(100), "x");
	CHECK_STR(next_read(100), "");
	CHECK_STR(next_read(100), "y\n");
}

TEST(signals_flush_what_was_typed)
{
	begin();
	type("rm -r\003");
	CHECK_EQ(d.signals, DISCIPLINE_INTR);
	CHECK_STR(seen(), "rm -r^C");
	type("\032\034\n");
	CHECK_EQ(d.signals, DISCIPLINE_INTR | DISCIPLINE_SUSP | DISCIPLINE_QUIT);
	CHECK_STR(next_read(100), "\n");
	set_lflag(0, NOFLSH);
	type("kept\003\n");
	CHECK_STR(next_read(100), "kept\n");
	set_lflag(ISIG, 0);
	d.signals = 0;
	type("\003\n");
	CHECK_EQ(d.signals, 0);
	CHECK_STR(next_read(100), "\003\n");
}

TEST(raw_mode_gives_bytes_as_they_come)
{
	begin();
	set_lflag(ICANON | ECHO, 0);
	type("a\177\004");
	CHECK_STR(seen(), "");
	CHECK_STR(next_read(2), "a\177");
	CHECK_STR(next_read(100), "\004");
	CHECK_STR(next_read(100), "(nothing)");
	d.settings.cc[VMIN] = 0;
	CHECK_STR(next_read(100), "");
	d.settings.cc[VTIME] = 7;
	CHECK_STR(next_read(100), "(nothing)");
	CHECK_EQ(discipline_patience(&d), 7);
	d.settings.cc[VTIME] = 0;
	d.settings.cc[VMIN] = 3;
	type("ab");
	CHECK_STR(next_read(100), "(nothing)");
	type("c");
	CHECK_STR(next_read(100), "abc");
}

TEST(typed_ahead_is_seen_by_the_next_mode)
{
	begin();
	type("one\ntw");
	set_lflag(ICANON, 0);
	CHECK_STR(next_read(100), "one\ntw");
	type("half");
	set_lflag(0, ICANON);
	CHECK_STR(next_read(100), "half");
	type("a\n\004");
	set_lflag(ICANON, 0);
	CHECK_STR(next_read(100), "a\n\004");
}

TEST(echo_can_be_off)
{
	begin();
	set_lflag(ECHO, 0);
	type("secret\177\n");
	CHECK_STR(seen(), "");
	CHECK_STR(next_read(100), "secre\n");
	set_lflag(0, ECHONL);
	type("secret\n");
	CHECK_STR(seen(), "\r\n");
}

TEST(output_processing)
{
	begin();
	discipline_write(&d, "a\nb", 3);
	CHECK_STR(seen(), "a\r\nb");
	d.settings.oflag = 0;
	discipline_write(&d, "a\nb", 3);
	CHECK_STR(seen(), "a\nb");
}

TEST(a_line_that_is_too_long_can_still_be_ended)
{
	begin();
	for (int i = 0; i < 1000; i++)
		type("0123456789");
	CHECK(strchr(screen, '\a'));
	type("\n");
	CHECK_EQ(strlen(next_read(TYPED_BYTES)), LINE_BYTES + 1);
	CHECK_STR(next_read(100), "(nothing)");
}

TEST(lines_that_nobody_reads_fill_the_ring_and_no_more)
{
	begin();
	for (int i = 0; i < 30000; i++)
		type("a\n");
	CHECK_EQ(d.typed - d.read, TYPED_BYTES);
	type("\003");
	CHECK_EQ(d.signals, DISCIPLINE_INTR);
	CHECK_EQ(d.typed - d.read, 0);
}

TEST(a_disabled_key_is_a_byte)
{
	begin();
	d.settings.cc[0] = 0;
	type("\003\n");
	CHECK_EQ(d.signals, 0);
	discipline_type(&d, (const uint8_t *)"\0\n", 2);
	CHECK_STR(next_read(100), "\003\n");
	CHECK_EQ(discipline_read(&d, (uint8_t *)screen, 10), 2);
}

TEST(another_reader_finds_what_was_typed_ahead)
{
	begin();
	set_lflag(ICANON, 0); /* as a shell that edits lines itself, and dies */
	type("first\nsec");
	CHECK_STR(next_read(3), "fir");
	discipline_reset(&d);
	CHECK(discipline_check(&d));
	CHECK_EQ(d.settings.lflag & ICANON, ICANON);
	CHECK_STR(next_read(100), "st\nsec"); /* as after any change from raw mode */
	type("ond\n\003");
	CHECK_EQ(d.signals, DISCIPLINE_INTR);
	discipline_reset(&d);
	CHECK_EQ(d.signals, 0);
}

TEST(any_keys_in_any_mode)
{
	static uint8_t buf[5000];

	begin();
	for (u64 round = 0; round < check_rounds(20000); round++) {
		size_t n = check_below(200);

		for (size_t i = 0; i < n; i++)
			buf[i] = check_below(4) ? check_below(128) : check_random();
		discipline_type(&d, buf, n);
		CHECK(discipline_check(&d));
		if (check_below(3) == 0)
			(void)discipline_read(&d, buf, check_below(sizeof(buf)));
		if (check_below(20) == 0)
			set_lflag(check_random() & 0xffff, check_random() & 0xffff);
		if (check_below(50) == 0)
			discipline_flush(&d);
		if (check_below(50) == 0)
			discipline_reset(&d);
		CHECK(discipline_check(&d));
		shown = 0;
	}
}
