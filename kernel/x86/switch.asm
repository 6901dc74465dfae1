; switch.asm - from one kernel stack to another, and into ring 3.               floor 1
;
; Contracts: x86/switch.h. Offsets of struct regs: entry.asm has the drawing.

%include "cfi.inc"

%define CPU_KERNEL_RSP 8
%define REGS_SIZE 176
%define REGS_CS 144
%define REGS_SS 168
%define SEL_USER_DATA 0x1b
%define SEL_USER_CODE 0x23

section .text

; thread_switch(u64 *save_rsp: rdi, u64 new_rsp: rsi)
;
;     stack of a thread that does not run        rsp -> r15 r14 r13 r12 rbx rbp | return address
;
; All other registers belong to the caller by the ABI; flags are the same (interrupts off), FPU and
; segment bases are sched.c's.
global thread_switch
thread_switch:
	cfi_function thread_switch
	cfi_push rbp
	cfi_push rbx
	cfi_push r12
	cfi_push r13
	cfi_push r14
	cfi_push r15
	mov [rdi], rsp
	mov rsp, rsi
	cfi_pop r15
	cfi_pop r14
	cfi_pop r13
	cfi_pop r12
	cfi_pop rbx
	cfi_pop rbp
	ret
	cfi_end

; The first instructions of a new thread: thread_stack_init() put entry into rbx and arg into r12.
; The call chain ends here.
global thread_start
thread_start:
	cfi_function thread_start
	cfi CFA_UNDEFINED, DW_rip
	mov rdi, r12
	call rbx
	ud2                             ; entry does not return
	cfi_end

; user_enter(const struct regs *regs: rdi)
;
; The registers are copied to the top of the kernel stack, where every later entry puts them too;
; copied downwards, because the source may lie just below on the same stack.
global user_enter
user_enter:
	cfi_function user_enter
	cfi CFA_UNDEFINED, DW_rip
	cli
	lea rsi, [rdi + REGS_SIZE - 8]
	mov rdi, [gs:CPU_KERNEL_RSP]
	sub rdi, 8
	mov ecx, REGS_SIZE / 8
	std
	rep movsq
	cld
	lea rsp, [rdi + 8]
	mov qword [rsp + REGS_CS], SEL_USER_CODE
	mov qword [rsp + REGS_SS], SEL_USER_DATA
	pop r15
	pop r14
	pop r13
	pop r12
	pop rbp
	pop rbx
	pop r11
	pop r10
	pop r9
	pop r8
	pop rax
	pop rcx
	pop rdx
	pop rsi
	pop rdi
	add rsp, 16
	swapgs
	iretq
	cfi_end
