"""What lies where in the state folder."""

LOCK = "lock"  # held by the box that runs with this folder
CONTROL = "control.sock"  # where `lanjami` asks the box that runs
NAMES = "names.sqlite"
NODE_ID = "node-id"
PYTHON_NODE_ID = "python-node-id"
PYTHON_NODE_STATE = "python-node-state"  # nodes and values over a restart; not in backups
PROXY_ORDERS = "proxy-orders"  # what is done for phones that sleep; not in backups
PROXY_LISTENERS = "proxy-listeners"  # which addresses listen; not in backups
NODE_IDS = (NODE_ID, PYTHON_NODE_ID)
BACKUPS = "backups"
NETWORK = "network"  # leases and IPv6 networks, and what the programs that serve them are told
TURN = "turn"  # users of the relay, and what its program is told; not in backups
PAGE_SETTINGS = "page-settings.toml"  # laid over the configuration file
OPERATOR = "operator-password"  # its hash; not in backups
UPDATE = "update.tar"  # of the page, for lanjami-update.path; not in backups

RESTORED_CONFIG = "restored.toml"  # of a backup, on a box whose settings are on its card

CONFIG = "lanjami.toml"  # in a backup
