"""Make the keys and tokens that compose.yml mounts, in secrets/ beside it.  Standard library only.

What is there already is kept.  The directory is for its owner alone; the files in it can be read by
all, since the containers read them under users of their own.
"""

import json
import secrets
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCOPES = {
    "alice": ["tasks", "pools", "nodes", "models"],
    "queen-rbee": ["executions"],
}
"""Users of the services and their scopes; see examples/rbee/tokens.py."""
TOKEN_FILES = {"alice": "alice.token", "queen-rbee": "hive.token"}
SECRET_FILES = {"admin": "admin.secret", "writer": "archive.secret", "reader": "reader.secret"}
ACTIONS = {  # as docs/archive.md gives them
    "writer": ["s3:PutObject", "s3:PutObjectRetention"],
    "reader": [
        *("s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention", "s3:ListBucket"),
        *("s3:ListBucketVersions", "s3:GetBucketObjectLockConfiguration"),
    ],
}


def secret(place: Path, name: str) -> str:
    """Return what is in the file, which is made when it is not there."""
    path = place / name
    if not path.exists():
        write(path, secrets.token_urlsafe(32))
    return path.read_text().strip()


def write(path: Path, text: str) -> None:
    path.write_text(text + "\n")
    path.chmod(0o644)


def tokens(place: Path) -> str:
    parts = []
    for user, scopes in SCOPES.items():
        digest = sha256(secret(place, TOKEN_FILES[user]).encode()).hexdigest()
        parts.append(f'[{user}]\nsha256 = "{digest}"\nscopes = {json.dumps(scopes)}')
    return "\n".join(parts)


def identities(place: Path) -> dict[str, object]:
    """Return the users of SeaweedFS: one makes the bucket, one only writes, one only reads."""
    users: list[dict[str, object]] = []
    for name, file in SECRET_FILES.items():
        key = {"accessKey": name, "secretKey": secret(place, file)}
        allowed = (
            {"policyNames": [name]}
            if name in ACTIONS
            else {"actions": ["Admin", "Read", "List", "Tagging", "Write"]}
        )
        users.append({"name": name, "credentials": [key], **allowed})
    policies = []
    for name, actions in ACTIONS.items():
        statement = {"Effect": "Allow", "Action": actions, "Resource": ["arn:aws:s3:::*"]}
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        policies.append({"name": name, "content": json.dumps(policy)})
    return {"identities": users, "policies": policies}


def main() -> None:
    place = HERE / "secrets"
    place.mkdir(mode=0o700, exist_ok=True)
    # Mounted as a whole, by a user of its own; what is in it is optional.
    (place / "alertmanager").mkdir(exist_ok=True)
    (place / "alertmanager").chmod(0o755)
    (HERE / "models").mkdir(exist_ok=True)
    if not (place / "tokens.toml").exists():
        write(place / "tokens.toml", tokens(place))
    write(place / "s3.json", json.dumps(identities(place), indent=1))
    print(f"{place} has the keys and tokens; alice.token is for requests to queen-rbee")


if __name__ == "__main__":
    main()
