; trampoline.asm - how an application processor gets from real mode to C.      floor 7
;
; x86/ copies trampoline_start .. trampoline_end to a free page P below 1 MiB, fills the mailbox in
; the copy and sends INIT and STARTUP with vector P >> 12. The processor begins at P in real mode
; (cs = P >> 4, ip = 0) and goes to long mode in one step; the root in the mailbox must map P to
; itself, executable, and what the stack and the entry need (trampoline_pgd, see boot.asm).
;
; The mailbox (struct mailbox in kernel/x86/smp.c), at offset 8 of the page:
;        8  cr3     physical address of the root table, below 4 GiB
;       16  stack   first rsp, 16-byte aligned
;       24  entry   64-bit function void entry(u64 arg), which does not return
;       32  arg     handed over in rdi
; One processor at a time: the next mailbox may be written when `entry` has run.
;
; Everything is addressed relative to P; the two absolute addresses (GDT, target of the far jump)
; are computed from cs and stored into the copy before use.

%include "boot/boot.inc"

%define AT(label) ((label) - trampoline_start)

section .rodata
global trampoline_start, trampoline_end
align 16
bits 16
trampoline_start:
	jmp short start16
	times 8 - ($ - trampoline_start) db 0
mailbox_cr3:   dq 0
mailbox_stack: dq 0
mailbox_entry: dq 0
mailbox_arg:   dq 0

start16:
	cli
	cld
	mov ax, cs
	mov ds, ax
	xor ebx, ebx
	mov bx, cs
	shl ebx, 4                      ; ebx = P
	lea eax, [ebx + AT(gdt)]
	mov [AT(gdt_pointer) + 2], eax
	lea eax, [ebx + AT(start64)]
	mov [AT(far_target)], eax
	lgdt [AT(gdt_pointer)]

	mov eax, CR4_VALUE
	mov cr4, eax
	mov eax, [AT(mailbox_cr3)]
	mov cr3, eax
	mov ecx, MSR_EFER
	rdmsr
	or eax, EFER_SET
	wrmsr
	mov eax, CR0_VALUE              ; protected mode and paging at once: long mode is active
	mov cr0, eax
	jmp dword far [AT(far_target)]

bits 64
start64:
	mov eax, SEL_DATA
	mov ds, eax
	mov es, eax
	mov ss, eax
	xor eax, eax
	mov fs, eax
	mov gs, eax
	mov rsp, [rel mailbox_stack]
	mov rdi, [rel mailbox_arg]
	xor ebp, ebp                    ; the frame chain ends here
	push rbp
	push rbp
	call [rel mailbox_entry]
	ud2

align 8, db 0
gdt:
	dq 0
	dq GDT_CODE64
	dq GDT_DATA
gdt_pointer:
	dw 3 * 8 - 1
	dd 0
far_target:
	dd 0
	dw SEL_CODE64
trampoline_end:
