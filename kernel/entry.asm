; entry.asm - where the CPU enters the kernel: exceptions, interrupts, system calls.        floor 7
;
; A door: saves the registers, makes %gs the kernel's, calls C (trap.c, syscall.c), undoes it all.
; It decides nothing but how to leave.
;
; What every entry builds (struct regs, kernel/x86/regs.h), 176 bytes, so that rsp stays a multiple of 16:
;
;       rsp -> r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi | vector error | rip cs rflags rsp ss
;                0   8  16  24  32  40  48  56 64 72  80  88  96 104 112     120   128   136 144   152 160 168
;              |------------------- pushed here -------------------------|-----------|------- by the CPU -----|
;
; From ring 3 this lies at the top of the thread's kernel stack, always at the same place.
;
; INVARIANTS
;   D1  C runs with the kernel's %gs, DF and AC clear. SYSCALL clears them by SFMASK; the other entries by
;       CLD and CLAC. CLAC does not exist without SMAP: there are 3-byte NOPs, and entry_clac_sites tells
;       main.c where to patch.
;   D2  between SWAPGS and the return to ring 3 interrupts are off.
;   D3  NMI, #MC, #DF and #DB may come between any two instructions, also where %gs is not yet or no longer
;       the kernel's: they have stacks of their own and read the base register to see whose it is. Ring 3
;       cannot set a base in the kernel half (FSGSBASE is off).
;   D4  SYSRET only to a canonical address in the lower half: else it would fault in ring 0 on ring 3's
;       stack (CVE-2012-0217). A fault at IRETQ itself is recognised by its address.
;
; LINUX  arch/x86/entry/entry_64.S.                 SDM vol. 3A, 6.12 to 6.15; vol. 2B, SYSCALL, SYSRET

%include "cfi.inc"

; struct cpu; asserted in trap.c and gdt.c
%define CPU_KERNEL_RSP   8
%define CPU_USER_RSP     16
%define CPU_NEED_RESCHED 57

%define REGS_R11    48
%define REGS_RCX    88
%define REGS_RIP    136
%define REGS_CS     144
%define REGS_RFLAGS 152

%define SEL_USER_DATA 0x1b
%define SEL_USER_CODE 0x23
%define MSR_GS_BASE   0xc0000101
%define RFLAGS_TF_RF  0x10100

%define NR_VECTORS 256

extern trap_dispatch, trap_page_fault, trap_paranoid, trap_bad_return
extern syscall_dispatch, sched_return_to_user

section .text

; ---- pieces --------------------------------------------------------------------------------------

%macro save_registers 0
	cfi_push rdi
	cfi_push rsi
	cfi_push rdx
	cfi_push rcx
	cfi_push rax
	cfi_push r8
	cfi_push r9
	cfi_push r10
	cfi_push r11
	cfi_push rbx
	cfi_push rbp
	cfi_push r12
	cfi_push r13
	cfi_push r14
	cfi_push r15
%endmacro

%macro restore_registers 0
	cfi_pop r15
	cfi_pop r14
	cfi_pop r13
	cfi_pop r12
	cfi_pop rbp
	cfi_pop rbx
	cfi_pop r11
	cfi_pop r10
	cfi_pop r9
	cfi_pop r8
	cfi_pop rax
	cfi_pop rcx
	cfi_pop rdx
	cfi_pop rsi
	cfi_pop rdi
%endmacro

; A 3-byte NOP that becomes CLAC where SMAP exists; its address goes into the table of such places.
%macro clac_or_nop 0
%%site:	db 0x0f, 0x1f, 0x00
	[section .rodata]
	dq %%site
	__?SECT?__
%endmacro

section .rodata
align 8, db 0
global entry_clac_sites, entry_clac_sites_end
entry_clac_sites:
section .text

; Everything after vector and error are on the stack, for an entry that uses the current stack.
;     %1  the C function, called with rdi = regs
%macro entry_body 1
	save_registers
	cld
	clac_or_nop
	test byte [rsp + REGS_CS], 3
	jz %%kernel

	cfi CFA_REMEMBER
	cfi CFA_UNDEFINED, DW_rip       ; the call chain ends at ring 3
	swapgs
	mov rdi, rsp
	call %1
	jmp return_to_user

%%kernel:
	cfi CFA_RESTORE_STATE
	lea rax, [rel return_to_user.iret]
	cmp [rsp + REGS_RIP], rax
	je bad_return
	mov rdi, rsp
	call %1
	restore_registers
	add rsp, 16
	cfi_moved -16
	iretq
%endmacro

; ---- page faults: the one exception whose speed matters has its own copy -----------------------------

global page_fault_entry
page_fault_entry:
	cfi_begin page_fault_entry, 48
	cfi_push_value 14
	entry_body trap_page_fault
	cfi_end

; ---- all other exceptions and interrupts -------------------------------------------------------------

common_entry:
	cfi_begin common_entry, 56
	entry_body trap_dispatch
	cfi_end

; Without error code (a 0 is pushed in its place), with one.
%macro stub 1
stub_%1:
	cfi_begin stub_%1, 40
	cfi_push_value 0
	cfi_push_value %1
	jmp common_entry
	cfi_end
%endmacro

%macro stub_error 1
stub_%1:
	cfi_begin stub_%1, 48
	cfi_push_value %1
	jmp common_entry
	cfi_end
%endmacro

%assign v 0
%rep NR_VECTORS
	%if v == 1 || v == 2 || v == 8 || v == 14 || v == 18
	%elif v >= 10 && v <= 13 || v == 17 || v == 21 || v == 29 || v == 30
	stub_error v
	%elif v < 0x31 || v >= 0xf0
	stub v
	%endif
%assign v v + 1
%endrep

; Vectors that nobody programs: one stub, vector "256".
stub_nobody:
	cfi_begin stub_nobody, 40
	cfi_push_value 0
	cfi_push_value NR_VECTORS
	jmp common_entry
	cfi_end

; ---- leaving to ring 3 -------------------------------------------------------------------------------
;
; With the registers on the stack. Interrupts are off from the last look at need_resched until the
; return: whoever sets it later sends an interrupt that is taken in ring 3. A killed thread has it set.

return_to_user:
	cfi_begin return_to_user, 176
	cfi CFA_UNDEFINED, DW_rip
.look:
	cli
	cmp byte [gs:CPU_NEED_RESCHED], 0
	jne .work
	restore_registers
	add rsp, 16
	cfi_moved -16
	swapgs
.iret:
	iretq
.work:
	[section .eh_frame]
	db CFA_DEF_OFFSET, 0xb0, 0x01
	__?SECT?__
	mov rdi, rsp
	call sched_return_to_user
	jmp return_to_user
	cfi_end

; The IRETQ above faulted: ring 3's %gs is loaded, the rest is as for a fault in the kernel.
;     rsp -> struct regs of the fault; above it the five words that IRETQ refused
bad_return:
	cfi_begin bad_return, 176
	cfi CFA_UNDEFINED, DW_rip
	swapgs
	mov rdi, rsp
	call trap_bad_return
	ud2                             ; it ends the task
	cfi_end

; ---- system calls ------------------------------------------------------------------------------------
;
; From ring 3: rax number, rdi rsi rdx r10 r8 r9 arguments, rcx return address, r11 flags; rsp still
; ring 3's. C finds the number in regs.vector and writes the result to regs.rax.

global syscall_entry
syscall_entry:
	cfi_begin syscall_entry, 40     ; from the second push on; before it, as good as nothing is known
	cfi CFA_UNDEFINED, DW_rip
	swapgs
	mov [gs:CPU_USER_RSP], rsp
	mov rsp, [gs:CPU_KERNEL_RSP]
	push SEL_USER_DATA
	push qword [gs:CPU_USER_RSP]
	push r11
	push SEL_USER_CODE
	push rcx
	cfi_push_value -1               ; regs.error: this was a system call
	cfi_push_value rax
	save_registers
	sti
	mov rdi, rsp
	call syscall_dispatch

	cli
	cmp byte [gs:CPU_NEED_RESCHED], 0
	jne return_to_user
	mov rcx, [rsp + REGS_RIP]       ; D4: SYSRET takes rip from rcx and rflags from r11
	cmp [rsp + REGS_RCX], rcx
	jne return_to_user
	shr rcx, 47
	jnz return_to_user
	mov r11, [rsp + REGS_RFLAGS]
	cmp [rsp + REGS_R11], r11
	jne return_to_user
	test r11d, RFLAGS_TF_RF
	jnz return_to_user
	restore_registers
	mov rsp, [rsp + 40]             ; regs.rsp, seen from regs.vector
	swapgs
	o64 sysret
	cfi_end

; ---- NMI, machine check, double fault, debug: from any state -----------------------------------------
;
; On their own stacks. rbx remembers over the call whether %gs was changed.

%macro paranoid 2                       ; vector, bytes the CPU pushed
stub_%1:
	cfi_begin stub_%1, %2
	%if %2 == 40
	cfi_push_value 0
	%endif
	cfi_push_value %1
	save_registers
	cld
	clac_or_nop
	xor ebx, ebx
	mov ecx, MSR_GS_BASE
	rdmsr
	test edx, edx
	js %%kernel_gs
	swapgs
	inc ebx
%%kernel_gs:
	mov rdi, rsp
	call trap_paranoid
	test ebx, ebx
	jz %%leave
	swapgs
%%leave:
	restore_registers
	add rsp, 16
	cfi_moved -16
	iretq
	cfi_end
%endmacro

	paranoid 1, 40
	paranoid 2, 40
	paranoid 8, 48
	paranoid 18, 40

section .rodata
entry_clac_sites_end:

; ---- the table idt.c reads ---------------------------------------------------------------------------

global entry_stubs
align 8, db 0
entry_stubs:
%assign v 0
%rep NR_VECTORS
	%if v == 14
	dq page_fault_entry
	%elif v < 0x31 || v >= 0xf0
	dq stub_%+v
	%else
	dq stub_nobody
	%endif
%assign v v + 1
%endrep
