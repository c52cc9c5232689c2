-- What the operator decides: names that nobody gets, and names that were changed. A renamed name
-- keeps the signature over the name that its owner asked for.
CREATE TABLE reserved (
    name  TEXT    NOT NULL PRIMARY KEY,
    since INTEGER NOT NULL  -- seconds since 1970, by the box's clock
) STRICT, WITHOUT ROWID;

ALTER TABLE names ADD COLUMN signed TEXT NOT NULL DEFAULT '';
UPDATE names SET signed = name;
