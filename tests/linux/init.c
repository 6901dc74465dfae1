/*
 * init.c - first process of the Linux guest that tools/linux.py boots: prepare, run commands, power off.
 *
 * An ordinary program: it mounts /proc, /sys and what else the programs read, sets up huge pages as the
 * comparison wants them (below 512 MiB of memory Linux switches them off), runs each line of /commands as a
 * program of /bin with its words as arguments, and says after each how it ended.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS_MAX 16
#define THP_DIR   "/sys/kernel/mm/transparent_hugepage/"

static void setting(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		printf("init: cannot write %s to %s\n", value, path);
	if (fd >= 0)
		close(fd);
}

static void run(char *line)
{
	char *words[WORDS_MAX + 1] = {NULL}, path[128], *rest = line;
	int nr = 0, status = 0, pid;

	while (nr < WORDS_MAX && (words[nr] = strtok_r(rest, " ", &rest)))
		nr++;
	if (!nr)
		return;
	snprintf(path, sizeof(path), "/bin/%s", words[0]);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		execv(path, words);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		puts("init: cannot run a program");
	printf("init: %s %s: status %d\n", words[0], nr > 1 ? words[nr - 1] : "",
		WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status));
	fflush(stdout);
}

static void prepare(void)
{
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	if (freopen("/dev/console", "w", stdout) && freopen("/dev/console", "w", stderr))
		dup2(fileno(stdout), 1);
	setting(THP_DIR "enabled", "always");
	setting(THP_DIR "defrag", "madvise");
	setting(THP_DIR "use_zero_page", "1");
	setting(THP_DIR "khugepaged/defrag", "1");
}

int main(void)
{
	char line[4096];
	FILE *commands;

	prepare();
	commands = fopen("/commands", "r");
	while (commands && fgets(line, sizeof(line), commands)) {
		line[strcspn(line, "\n")] = '\0';
		run(line);
	}
	puts("init: done");
	fflush(stdout);
	reboot(RB_POWER_OFF);
	return 1;
}
