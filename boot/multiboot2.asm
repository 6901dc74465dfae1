; multiboot2.asm - the Multiboot2 header and the entry that GRUB jumps to.      floor 7
;
; GRUB looks for the header in the first 32 KiB of the file (linker.ld puts it first), loads the ELF
; segments at their physical addresses and jumps here in 32-bit protected mode, paging off:
;     eax = 0x36d76289    ebx = physical address of the information block
; Specification: Multiboot2 2.0, sections 3.1 (header) and 3.3 (machine state).

%define HEADER_MAGIC 0xe85250d6
%define ARCH_I386    0
%define TAG_END      0
%define TAG_REQUEST  1
%define TAG_ALIGN    6

section .multiboot2 progbits alloc noexec nowrite align=8
header:
	dd HEADER_MAGIC
	dd ARCH_I386
	dd header_end - header
	dd 0x100000000 - (HEADER_MAGIC + ARCH_I386 + (header_end - header))

request:                                ; refuse to start without a memory map
	dw TAG_REQUEST, 0
	dd request_end - request
	dd 6
request_end:
	align 8, db 0

	dw TAG_ALIGN, 0                 ; modules begin on a page
	dd 8

	dw TAG_END, 0
	dd 8
header_end:

section .boot.text progbits alloc exec nowrite align=16
bits 32
extern boot32

global multiboot2_entry
multiboot2_entry:
	mov edi, eax
	mov esi, ebx
	jmp boot32
