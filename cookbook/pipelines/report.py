"""What is worth telling about packages: the second module, which knows the first by names alone."""


def stored(db, files, requirements):
    rows = [(name, files[name], requirements[name]) for name in files]
    db.executemany("INSERT INTO package VALUES (?, ?, ?)", rows)
    return len(rows)


def largest(db, stored, limit=5):
    return db.execute("SELECT * FROM package ORDER BY files DESC, name LIMIT ?", [limit]).fetchall()


def report(stored, largest):
    lines = [f"{files:6} files, {needs:3} requirements  {name}" for name, files, needs in largest]
    return "\n".join([f"{stored} packages, the largest first:", *lines])
