# Which slot starts, for the initramfs and for who asks later; sourced. The sectors are those of
# lanjami/box/slots.py. Only what klibc's and busybox' shells know is used here.
good_sector=2048
try_sector=2049

# word DISK SECTOR: the first line in a sector of the card.
word() {
    dd if="$1" bs=512 skip="$2" count=1 2>/dev/null | {
        read -r line || :
        printf '%s' "$line"
    }
}

# good_slot DISK: the slot that is known to be good.
good_slot() {
    case $(word "$1" "$good_sector") in
        lanjami_slot=b) printf b ;;
        *) printf a ;;
    esac
}

# choose_slot DISK: prints "SLOT" or "SLOT tried". What is to be tried is tried once: the word for it
# is gone from the card before it is heeded, and where the card does not take that, it is not tried.
choose_slot() {
    good=$(good_slot "$1")
    case $(word "$1" "$try_sector") in
        lanjami_try=a) try=a ;;
        lanjami_try=b) try=b ;;
        *) try= ;;
    esac
    if [ -n "$try" ]; then
        dd if=/dev/zero of="$1" bs=512 seek="$try_sector" count=1 conv=notrunc,fsync 2>/dev/null || try=
    fi
    if [ -n "$try" ] && [ "$try" != "$good" ]; then
        printf '%s tried' "$try"
    else
        printf '%s' "$good"
    fi
}

other_slot() {
    if [ "$1" = a ]; then printf b; else printf a; fi
}

# partition DISK NUMBER: its path; the names of disks that end in a digit have a p before it.
partition() {
    case $1 in
        *[0-9]) printf '%sp%s' "$1" "$2" ;;
        *) printf '%s%s' "$1" "$2" ;;
    esac
}

slot_partition() {
    if [ "$2" = a ]; then partition "$1" 2; else partition "$1" 3; fi
}

# find_card SECONDS: the disk that this machine started from. A card in the machine's own slot goes
# before one in a reader, which may be an old card of this box. It is known by the number of its first
# partition (image/layout.py), as whoever has it in a computer may call that what they like; and by
# that name, where somebody has made a table of their own.
find_card() {
    left=$1 number=6c616e6a-01
    while :; do
        for device in /dev/mmcblk0p1 /dev/mmcblk1p1 "/dev/disk/by-partuuid/$number" /dev/disk/by-label/LANJAMI; do
            [ -e "$device" ] || continue
            [ "$(blkid -s PARTUUID -o value "$device")" = "$number" ] ||
                [ "$(blkid -s LABEL -o value "$device")" = LANJAMI ] || continue
            name=$(readlink -f "$device")
            folder=$(cd -P "/sys/class/block/${name##*/}/.." && pwd -P) || continue
            printf '/dev/%s' "${folder##*/}"
            return 0
        done
        [ "$left" -gt 0 ] || return 1
        left=$((left - 1))
        sleep 1
    done
}
