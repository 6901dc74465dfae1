/*
 * init.c - first process of the Linux guest that on_linux.py boots: run commands, power off.
 *
 * Mounts /proc and /sys, runs each line of /commands as a program of /bin with its words as arguments,
 * and says after each how it ended.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS_MAX 16

static void run(char *line)
{
	char *words[WORDS_MAX + 1] = {NULL}, path[128], *rest = line;
	int nr = 0, status = 0, pid;

	while (nr < WORDS_MAX && (words[nr] = strtok_r(rest, " ", &rest)))
		nr++;
	if (!nr)
		return;
	snprintf(path, sizeof(path), "/bin/%s", words[0]);
	pid = fork();
	if (pid == 0) {
		execv(path, words);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		puts("init: cannot run a program");
	printf("%s: status %d\n", words[0],
		WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status));
	fflush(stdout);
}

int main(void)
{
	char line[4096];
	FILE *commands;

	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	if (freopen("/dev/console", "w", stdout) && freopen("/dev/console", "w", stderr))
		dup2(fileno(stdout), 1);
	commands = fopen("/commands", "r");
	while (commands && fgets(line, sizeof(line), commands)) {
		line[strcspn(line, "\n")] = '\0';
		run(line);
	}
	reboot(RB_POWER_OFF);
	return 1;
}
