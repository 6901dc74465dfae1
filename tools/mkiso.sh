#!/bin/sh
# mkiso.sh ISO KERNEL INITRD TREE [KERNEL-COMMAND-LINE]
#
# A hybrid ISO (BIOS and UEFI) from TREE (iso/) with the kernel and the initrd added. Symbols and
# debug information are left out: GRUB would load them into the guest's memory. Only the GRUB modules
# that grub.cfg uses are taken, which makes the image 5 MB instead of 10.
set -eu
iso=$1 kernel=$2 initrd=$3 tree=$4 cmdline=${5-}

# The part_* are those that GRUB's UEFI start-up file asks for by name.
modules="multiboot2 normal serial terminal configfile iso9660 part_gpt part_msdos part_acorn part_amiga
	part_apple part_bsd part_dfly part_dvh part_plan part_sun part_sunpc"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -R "$tree/." "$work/iso"
"${OBJCOPY:-objcopy}" --strip-all "$kernel" "$work/iso/boot/pagoda.elf"
if [ -n "$cmdline" ]; then
	# Each word in quotes of its own: && is GRUB's otherwise, and GRUB passes a quoted group of words
	# on with its quotes.
	set -f
	words=
	for word in $cmdline; do
		words="$words '$word'"
	done
	words=$words awk '{ print $0 (/multiboot2 / ? ENVIRON["words"] : "") }' \
		"$tree/boot/grub/grub.cfg" > "$work/iso/boot/grub/grub.cfg"
fi
if [ -n "$initrd" ]; then
	cp "$initrd" "$work/iso/boot/initrd.cpio"
else
	sed -i '/module2/d' "$work/iso/boot/grub/grub.cfg"
fi
if ! grub-mkrescue --output="$iso" --fonts= --locales= --themes= \
	--install-modules="$modules" \
	"$work/iso" > "$work/log" 2>&1; then
	cat "$work/log" >&2
	rm -f "$iso"
	exit 1
fi
