; boot.asm - from 32-bit protected mode to kernel_main() in the higher half.    floor 7
;
; Both entries (multiboot2.asm, pvh.asm) come here with edi = protocol magic and esi = physical
; address of the loader's information. Nothing has been set up: no stack, no tables, and the image
; runs at its physical address, so each symbol is written PHYS(symbol).
;
;   1  stack, COM1
;   2  does the processor have what the kernel needs? A missing feature is named on COM1, and the
;      machine stops
;   3  page tables
;
;        virtual                   physical      pages    rights
;        0                         0 .. 4 GiB    2 MiB    RWX   only until step 5
;        0xffff888000000000        0 .. 4 GiB    2 MiB    RW    the direct map
;        0xffffffff80000000        the image     4 KiB    .text RX, .rodata R, .data and .bss RW
;
;      The identity map and the direct map share their tables; NX stands in the direct map's PGD
;      entry. The page below the boot stack has no entry: an overflow faults instead of
;      overwriting what is below.
;   4  PAE, PGE, LME, NXE, SCE, WP, paging on: long mode
;   5  jump to the image's own address, remove the identity map, kernel_main(magic, info)
;
; boot_pgd stays: the kernel reads its tables until it has built its own. trampoline_pgd is the root
; that application processors start on: its upper half is a copy of boot_pgd's (x86/ replaces it by
; that of the kernel's root), its lower half maps only the first 2 MiB, read-only and executable,
; where the trampoline page lies.
;
; LINUX  arch/x86/platform/pvh/head.S, arch/x86/kernel/head_64.S

%include "boot/boot.inc"

extern boot_continue                    ; linker.ld: kernel_main, which stands above this file
extern __text_start, __text_end, __rodata_start, __rodata_end, __data_start, __kernel_end

%define BOOT_STACK_SIZE 16384

section .bss.page_aligned nobits alloc noexec write align=4096
global boot_pgd, trampoline_pgd, boot_stack_guard, boot_stack, boot_stack_top
boot_pgd:       resb 4096
low_pud:        resb 4096               ; 0 .. 4 GiB, used by identity map and direct map
low_pmd:        resb 4 * 4096
image_pud:      resb 4096
image_pmd:      resb 4096
image_pte:      resb 4 * 4096           ; 8 MiB; linker.ld asserts that the image fits
trampoline_pgd: resb 4096
trampoline_pud: resb 4096
trampoline_pmd: resb 4096
boot_stack_guard: resb 4096
boot_stack:     resb BOOT_STACK_SIZE
boot_stack_top:

section .bss nobits alloc noexec write align=8
global boot_entry_tsc
boot_entry_tsc: resq 1

section .rodata
gdt:
	dq 0
	dq GDT_CODE64
	dq GDT_DATA
gdt_end:
gdt_pointer_phys:
	dw gdt_end - gdt - 1
	dd PHYS(gdt)
gdt_pointer:
	dw gdt_end - gdt - 1
	dq gdt

; A feature: CPUID leaf, bit of EDX, offset of its name. Leaf 0 ends the list.
%macro feature 3
	dd %1, 1 << %2, PHYS(%%name)
	[section .rodata.names]
%%name:	db %3, 0
	__?SECT?__
%endmacro
section .rodata.names progbits alloc noexec nowrite
section .rodata
features:
	feature 1, 5, "MSR (model-specific registers)"
	feature 1, 6, "PAE (page tables with 64-bit entries)"
	feature 1, 9, "APIC (local interrupt controller)"
	feature 1, 13, "PGE (global pages)"
	feature 1, 24, "FXSR (FXSAVE and FXRSTOR)"
	feature 1, 26, "SSE2"
	feature 0x80000001, 20, "NX (pages without execute permission)"
	feature 0x80000001, 29, "LM (64-bit long mode)"
	dd 0
no_cpuid_name: db "CPUID", 0
refuse_head: db "pagoda: cannot start: this processor has no ", 0
refuse_tail: db 13, 10, 0

section .boot.text progbits alloc exec nowrite align=16
bits 32

global boot32
boot32:
	cli
	cld
	rdtsc                           ; the firmware used what came before
	mov [PHYS(boot_entry_tsc)], eax
	mov [PHYS(boot_entry_tsc) + 4], edx
	mov esp, PHYS(boot_stack_top)
	call serial_init
	call check_features
	call build_low_map
	call build_image_map
	call build_roots
	call enable_paging
	lgdt [PHYS(gdt_pointer_phys)]
	jmp SEL_CODE64:PHYS(boot64_low)

; ---- words out -----------------------------------------------------------------------------------

; COM1: 115200 baud, 8 bits, no parity, no interrupts. The FIFOs stay as they are: what was typed meanwhile is
; kept for kernel/x86/serial.c. Clobbers eax, edx.
serial_init:
%macro uart 2
	mov dx, COM1 + %1
	mov al, %2
	out dx, al
%endmacro
	uart 1, 0x00
	uart 3, 0x80
	uart 0, 0x01
	uart 1, 0x00
	uart 3, 0x03
	uart 4, 0x03
	ret

; Print the string at ebp. Clobbers eax, ecx, edx, ebp. A dead port is given up after 64 Ki polls.
serial_print:
	mov ecx, 0x10000
.wait:
	mov dx, COM1 + 5
	in al, dx
	test al, 0x20
	jnz .ready
	dec ecx
	jnz .wait
.ready:
	mov al, [ebp]
	test al, al
	jz .done
	mov dx, COM1
	out dx, al
	inc ebp
	jmp serial_print
.done:
	ret

; ---- step 2: the processor -----------------------------------------------------------------------

; Clobbers eax, ebx, ecx, edx, ebp.
check_features:
	pushfd                          ; CPUID exists if the ID flag (bit 21) can be changed
	pop eax
	mov ecx, eax
	xor eax, 1 << 21
	push eax
	popfd
	pushfd
	pop eax
	xor eax, ecx
	mov ebp, PHYS(no_cpuid_name)
	test eax, 1 << 21
	jz refuse

	mov ebp, PHYS(features)
.next:
	mov eax, [ebp]
	test eax, eax
	jz .done
	and eax, 0x80000000             ; the highest leaf of this group: a leaf above it is absent
	cpuid
	cmp eax, [ebp]
	jb .missing
	mov eax, [ebp]
	cpuid
	test edx, [ebp + 4]
	jz .missing
	add ebp, 12
	jmp .next
.missing:
	mov ebp, [ebp + 8]
	jmp refuse
.done:
	ret

; Print that the feature named at ebp is missing, leave the emulator, or stop for good.
refuse:
	push ebp
	mov ebp, PHYS(refuse_head)
	call serial_print
	pop ebp
	call serial_print
	mov ebp, PHYS(refuse_tail)
	call serial_print
	mov al, DEBUG_EXIT_REFUSED
	out DEBUG_EXIT_PORT, al
.halt:
	hlt
	jmp .halt

; ---- step 3: page tables (.bss is zero: only what is present is written) -------------------------

; 4 GiB in 2048 pages of 2 MiB. The four PMD tables are contiguous, hence one loop.
build_low_map:
	mov ebx, PHYS(low_pmd)
	mov eax, PTE_P | PTE_RW | PTE_PS
	xor ecx, ecx
.page:
	mov [ebx + ecx * 8], eax
	add eax, 0x200000
	inc ecx
	cmp ecx, 4 * 512
	jne .page

	mov eax, PHYS(low_pmd) + PTE_P + PTE_RW
	mov ebx, PHYS(low_pud)
	xor ecx, ecx
.table:
	mov [ebx + ecx * 8], eax
	add eax, 4096
	inc ecx
	cmp ecx, 4
	jne .table
	ret

; Map the pages from ebx (physical) to before ecx with rights eax (low word) and edx (high word).
map_section:
	cmp ebx, ecx
	jae .done
	mov ebp, ebx
	shr ebp, 12
	lea ebp, [PHYS(image_pte) + ebp * 8]
	push eax
	or eax, ebx
	mov [ebp], eax
	mov [ebp + 4], edx
	pop eax
	add ebx, 4096
	jmp map_section
.done:
	ret

build_image_map:
%macro section_rights 4                 ; first symbol, end symbol, low word, high word
	mov ebx, PHYS(%1)
	mov ecx, PHYS(%2)
	mov eax, %3
	mov edx, %4
	call map_section
%endmacro
	section_rights __text_start, __text_end, PTE_P | PTE_G, 0
	section_rights __rodata_start, __rodata_end, PTE_P | PTE_G, PTE_NX_HIGH
	section_rights __data_start, __kernel_end, PTE_P | PTE_RW | PTE_G, PTE_NX_HIGH

	mov ebx, PHYS(boot_stack_guard)
	shr ebx, 12
	xor eax, eax
	mov [PHYS(image_pte) + ebx * 8], eax
	mov [PHYS(image_pte) + ebx * 8 + 4], eax

	mov eax, PHYS(image_pte) + PTE_P + PTE_RW
	mov ebx, PHYS(image_pmd)
	xor ecx, ecx
.table:
	mov [ebx + ecx * 8], eax
	add eax, 4096
	inc ecx
	cmp ecx, 4
	jne .table
	mov dword [PHYS(image_pud) + IMAGE_PUD_INDEX * 8], PHYS(image_pmd) + PTE_P + PTE_RW
	ret

build_roots:
	mov eax, PHYS(low_pud) + PTE_P + PTE_RW
	mov [PHYS(boot_pgd)], eax
	mov [PHYS(boot_pgd) + DIRECT_PGD_INDEX * 8], eax
	mov dword [PHYS(boot_pgd) + DIRECT_PGD_INDEX * 8 + 4], PTE_NX_HIGH
	mov [PHYS(trampoline_pgd) + DIRECT_PGD_INDEX * 8], eax
	mov dword [PHYS(trampoline_pgd) + DIRECT_PGD_INDEX * 8 + 4], PTE_NX_HIGH
	mov eax, PHYS(image_pud) + PTE_P + PTE_RW
	mov [PHYS(boot_pgd) + IMAGE_PGD_INDEX * 8], eax
	mov [PHYS(trampoline_pgd) + IMAGE_PGD_INDEX * 8], eax

	mov dword [PHYS(trampoline_pgd)], PHYS(trampoline_pud) + PTE_P
	mov dword [PHYS(trampoline_pud)], PHYS(trampoline_pmd) + PTE_P
	mov dword [PHYS(trampoline_pmd)], PTE_P | PTE_PS
	ret

; ---- steps 4 and 5 -------------------------------------------------------------------------------

enable_paging:
	mov eax, CR4_VALUE
	mov cr4, eax
	mov eax, PHYS(boot_pgd)
	mov cr3, eax
	mov ecx, MSR_EFER
	rdmsr
	or eax, EFER_SET
	wrmsr
	mov eax, CR0_VALUE
	mov cr0, eax
	ret

bits 64
boot64_low:
	mov rax, boot64
	jmp rax

boot64:
	lgdt [rel gdt_pointer]
	mov eax, SEL_DATA
	mov ds, eax
	mov es, eax
	mov ss, eax
	xor eax, eax
	mov fs, eax
	mov gs, eax
	mov [rel boot_pgd], rax         ; the identity map goes; it was not global, so
	mov rax, cr3                    ; reloading CR3 removes it from the TLB
	mov cr3, rax
	mov rsp, boot_stack_top
	xor ebp, ebp
	mov edi, edi                    ; clear the upper halves: undefined since 32-bit mode
	mov esi, esi
	call boot_continue
	ud2                             ; kernel_main() does not return
boot64_end:

; Call frame information of boot64 (DWARF, as the compilers write it): the return address is undefined,
; which tells gdb and x86/unwind.c that this is the outermost frame.
section .eh_frame progbits alloc noexec nowrite align=8
cie:
	dd cie_end - $ - 4              ; length of what follows
	dd 0                            ; a CIE
	db 1, "zR", 0                   ; version; "R": the FDE's addresses are encoded as said below
	db 1, 0x78, 16                  ; code alignment 1, data alignment -8, return address: column 16
	db 1, 0x1b                      ; one byte: relative to itself, 4 bytes, signed
	db 0x0c, 7, 8                   ; DW_CFA_def_cfa rsp + 8
	db 0x07, 16                     ; DW_CFA_undefined: the return address
	align 8, db 0
cie_end:
fde:
	dd fde_end - $ - 4
	dd $ - cie
	dd boot64 - $
	dd boot64_end - boot64
	db 0
	align 8, db 0
fde_end:
