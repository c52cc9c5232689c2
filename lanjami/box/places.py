"""What lies where on a box that starts from the Raspberry Pi image."""

CARD = "/boot/firmware"  # the partition that every computer can read
SETTINGS = "lanjami.toml"
MISTAKES = "lanjami-mistakes.txt"
NEW_SETTINGS = "lanjami-new.toml"  # while it takes the place of the one with secrets

DATA = "/data"  # the partition that is written to
KEPT = "/data/box"  # root's: identities, settings with their secrets, counts
STATE = "/data/lanjami"  # seen as /var/lib/lanjami
SPARE = "lanjami-spare.zip"  # the newest backup, in the slot that does not run

RUN = "/run/lanjami-box"  # gone at every start
NOTICES = "/run/lanjami-box/notices"
SCREEN = "/run/lanjami-box/screen"
UPDATE = "/run/lanjami-box/update"  # how one stands, for everybody
ROLES = "/run/lanjami-box/roles"
TAKEN = "/run/lanjami-box/lanjami.toml"  # settings that could not be kept
CLOCK = "/run/lanjami-box/chrony.conf"  # read by lanjami-clock.service
CLOCK_RUN = "/run/lanjami-clock"  # whose folder this is
DISK = "/run/lanjami-box/disk"  # by the initramfs: the whole card
IDLE_SLOT = "idle-slot"  # in RUN, locked by who writes to the slot that does not run
SLOT = "/run/lanjami-box/slot"  # by the initramfs: the slot, and "tried" where it is tried once

CONFIG = "/etc/lanjami/lanjami.toml"  # in memory, written at every start
UPDATE_KEY = "/usr/share/lanjami/update-key.pem"
