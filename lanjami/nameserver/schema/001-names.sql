-- One name per ID and one ID per name, for ever: clients cache what they once looked up.
CREATE TABLE names (
    name       TEXT    NOT NULL PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,
    owner      TEXT    NOT NULL,
    publickey  TEXT    NOT NULL,
    signature  TEXT    NOT NULL,
    registered INTEGER NOT NULL  -- seconds since 1970, by the box's clock
) STRICT;
