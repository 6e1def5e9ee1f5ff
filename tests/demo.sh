#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# The main job in one go: a guest to look at, gdb on it, a dump of it.
set -eu

build=${BUILD:-build}
server=${VMGDBSERVER:-$build/vmgdbserver}
dir=$(mktemp -d)
vmm=

cleanup() {
	exec 3>&-
	if [ -n "$vmm" ]; then
		kill "$vmm" 2>/dev/null || :
		wait "$vmm" 2>/dev/null || :
	fi
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# Says what is done, then does it.
run() {
	printf '\n$'
	for word; do
		case $word in
		*' '*) printf " '%s'" "$word" ;;
		*) printf ' %s' "$word" ;;
		esac
	done
	echo
	"$@"
}

if [ ! -w /dev/kvm ] || [ "$(id -u)" != 0 ]; then
	echo "demo: needs /dev/kvm, and to attach to a process root: make demo as root, or sudo make demo" >&2
	exit 1
fi

printf '# A guest with two vCPUs that count in memory; its VMM knows nothing of us.\n'
mkfifo "$dir/commands" "$dir/answers"
printf '$ %s\n' "$build/tests/testvmm"
"$build/tests/testvmm" <"$dir/commands" >"$dir/answers" &
vmm=$!
exec 3>"$dir/commands"
exec 4<"$dir/answers"
read -r answer <&4
case $answer in
'{'*) ;;
*)
	echo "demo: the test VMM says: $answer" >&2
	exit 1
	;;
esac

counters() {
	echo counters >&3
	read -r answer <&4
	printf '# Its counters: %s\n' "$answer"
}

counters
run "$server" list

printf '\n# gdb, through a pipe: the guest is paused while gdb looks.\n'
run gdb --batch -nx -ex 'set debuginfod enabled off' \
	-ex "target remote | $server - --attach $vmm" \
	-ex 'info threads' -ex 'info registers rip rbx cr3' -ex 'x/4gx 0x600000' -ex detach
counters

printf '\n# A dump, and what readers of cores see in it.\n'
run "$server" dump --attach "$vmm" "$dir/vmcore"
run eu-readelf -l "$dir/vmcore"
run gdb --batch -nx -ex 'set debuginfod enabled off' -c "$dir/vmcore" -ex 'info threads' -ex 'info registers rbx'
counters
printf '\n# The guest has been running all the time, but for these pauses.\n'
