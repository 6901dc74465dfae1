; pvh.asm - the PVH note and the entry that `qemu -kernel` jumps to.            floor 7
;
; The note gives the physical address of a 32-bit entry. State there (Xen's PVH document): protected
; mode, paging off, flat segments,
;     ebx = physical address of struct hvm_start_info, whose first word is 0x336ec578

%define XEN_ELFNOTE_PHYS32_ENTRY 18
%define PVH_MAGIC 0x336ec578

%include "boot/boot.inc"

section .note.pvh note alloc noexec nowrite align=4
	dd 4                            ; length of the name
	dd 8                            ; length of the value
	dd XEN_ELFNOTE_PHYS32_ENTRY
	db "Xen", 0
	dq PHYS(pvh_entry)

section .boot.text progbits alloc exec nowrite align=16
bits 32
extern boot32

pvh_entry:
	mov edi, PVH_MAGIC
	mov esi, ebx
	jmp boot32
