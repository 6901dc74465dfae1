/*
 * debugport.c - leaving the machine.                                                   floor 1
 *
 * IDEA
 *   QEMU's isa-debug-exit first (its exit status says how it went), then what else switches a
 *   machine off: Bochs's shutdown port, the ACPI power control of the emulators' chipsets, and at
 *   last a reset by the keyboard controller. On real hardware only the last one works; AML is not
 *   interpreted here.
 *
 * LOCKS     none; callable in any state.
 */
#include "x86/debugport.h"
#include "x86/cpu.h"
#include "x86/serial.h"
#include "x86/timer.h"

#define PORT_DEBUG_EXIT 0xf4
#define PORT_BOCHS      0x8900
#define PORT_ACPI_PIIX4 0x604  /* QEMU pc and q35: PM1a control */
#define PORT_ACPI_BOCHS 0xb004 /* Bochs, old QEMU */
#define ACPI_SLEEP      0x2000 /* SLP_EN, SLP_TYP 0: soft off there */
#define PORT_KEYBOARD   0x64
#define KEYBOARD_RESET  0xfe

/* By the keyboard controller; if that fails, a fault without an IDT: a triple fault. */
__noreturn static void machine_reset(void)
{
	struct __packed {
		u16 limit;
		u64 base;
	} nothing = {0, 0};

	irq_disable();
	outb(PORT_KEYBOARD, KEYBOARD_RESET);
	timer_delay(100 * NS_PER_MS);
	asm volatile("lidt %0; int3" : : "m"(nothing));
	for (;;)
		asm volatile("hlt");
}

/* machine_exit - end the run; value as in debugport.h. What was printed is out before. */
void machine_exit(u8 value)
{
	irq_disable();
	serial_flush();
	outb(PORT_DEBUG_EXIT, value);
	for (const char *p = "Shutdown"; *p; p++)
		outb(PORT_BOCHS, (u8)*p);
	outw(PORT_ACPI_PIIX4, ACPI_SLEEP);
	outw(PORT_ACPI_BOCHS, ACPI_SLEEP);
	machine_reset();
}
