"""What lies where in the state folder."""

LOCK = "lock"  # held by the box that runs with this folder
CONTROL = "control.sock"  # where `lanjami` asks the box that runs
NAMES = "names.sqlite"
NODE_ID = "node-id"
BACKUPS = "backups"

CONFIG = "lanjami.toml"  # in a backup
