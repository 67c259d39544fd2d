"""Decide by a key's name whether it holds a secret or a fact about one.  Pure.

A key is split into words (``X-Api-Key``, ``apiKey`` and ``API_KEY`` are api + key).  The last words
that name a secret decide its kind; what stands behind or before them may make it a fact:

  secret      token, client_secret, password_hash, Set-Cookie, PGPASSWORD, verification_code
  fact        token_owner, password_changed_at, max_tokens, eos_token, api_key_id, pass_rate
  unsure      token_blue, password_ui: an unknown word follows, so the value decides (see looks)

The same function judges keys of mappings and keys in text, in the languages of the tables below.

Invariants (tests of the same name in tests/auditlog/redaction/test_key_meaning.py):
  spelling   case, separators, camelCase, accents and invisible characters do not change the answer
  about      a fact about a secret is not a secret
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final, NamedTuple

__all__ = ["LOW_ENTROPY", "Meaning", "meaning", "words"]


class Meaning(NamedTuple):
    """Kind of secret that a key names; ``sure`` is False when the value has to decide."""

    kind: str
    sure: bool
    plural: bool


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_KINDS: Final[dict[str, str]] = {
    "password": (
        "password passwords passwd passwds passphrase passphrases pwd pwds pw pass passcode passcodes "
        "userpass dbpass mypass htpasswd requirepass masterauth bindpw rootpw "
        "passwort passworter kennwort kennworter geheimzahl zugangscode losungswort motdepasse "
        "motsdepasse mdp codesecret contrasena contrasenas contrasenya clave palabraclave senha "
        "senhas wachtwoord wachtwoorden haslo hasla heslo losenord passord adgangskode kodeord "
        "salasana parola jelszo sifre sifresi lozinka geslo parole slaptazodis matkhau katasandi "
        "\u043f\u0430\u0440\u043e\u043b\u044c \u043f\u0430\u0440\u043e\u043b\u0438 "
        "\u043f\u0430\u0440\u043e\u043b\u0430 \u03ba\u03c9\u03b4\u03b9\u03ba\u03bf\u03c2 "
        "\u5bc6\u7801 \u5bc6\u78bc \u53e3\u4ee4 \u30d1\u30b9\u30ef\u30fc\u30c9 "
        "\ube44\ubc00\ubc88\ud638 \uc554\ud638 \u05e1\u05d9\u05e1\u05de\u05d4 "
        "\u0e23\u0e2b\u0e31\u0e2a\u0e1c\u0e48\u0e32\u0e19"
    ),
    "pin": "pin pins pincode pincodes pinnumber puk pukcode tancode \u6697\u8a3c\u756a\u53f7",
    "otp": (
        "otp otps otpcode totp totpcode hotp mfacode mfatoken 2facode twofacode twofactorcode "
        "2factorcode secondfactorcode smscode smspin onetimecode onetimepassword onetimepasscode "
        "onetimetoken onetimepin otc tan verificationcode verificationcodes verifycode "
        "confirmationcode confirmcode securitycode logincode signincode authenticatorcode "
        "activationcode pairingcode unlockcode accesscode entrycode doorcode resetcode magiccode "
        "backupcode backupcodes recoverycode recoverycodes scratchcode scratchcodes emergencycode "
        "emergencycodes challengeresponse totpseed"
    ),
    "cvv": "cvv cvvs cvc cvv2 cvc2 cvccode cvvcode cardcvc cardcvv cardsecuritycode cid2",
    "card": (
        "cardnumber cardnumbers cardno creditcard creditcards creditcardnumber creditcardno "
        "debitcard debitcardnumber ccnumber ccnum cardpan primaryaccountnumber kreditkarte "
        "kreditkartennummer"
    ),
    "iban": "iban ibans ibannumber",
    "identity_number": (
        "ssn ssns socialsecurity socialsecuritynumber nationalinsurancenumber nationalid "
        "nationalidnumber taxid taxidnumber passportnumber passportno driverslicensenumber "
        "sozialversicherungsnummer steuernummer"
    ),
    "token": (
        "token tokens accesstoken refreshtoken idtoken bearer jwt jwts jwe jws pat "
        "personalaccesstoken sastoken jeton jetons samlresponse samlassertion samltoken "
        "clientassertion assertion authcode authorizationcode authenticationcode oauthcode "
        "devicecode usercode grantcode codeverifier pkceverifier invitecode invitationcode "
        "serviceticket sessionticket ticketgrantingticket tgt csrf xsrf"
    ),
    "secret": (
        "secret secrets secretstring secretbinary secretid secretkeybase clientsecret aws_secret "
        "geheimnis geheim secreto segredo segreto sekret mnemonic mnemonics seedphrase seedwords "
        "walletseed recoveryphrase secretphrase backupphrase masterseed keytab keytabs "
        "kubeconfig dockerconfigjson dockercfg netrc pgpass keymaterial keyingmaterial keyblob "
        "secretvalue oathseed"
    ),
    "key": (
        "apikey apikeys appkey accesskey accesskeys privatekey privatekeys privkey privatepem "
        "secretkey secretkeys signingkey encryptionkey masterkey sshkey serverkey psk presharedkey "
        "wpakey licensekey licencekey productkey xprv nsec pskkey wepkey privateexponent"
    ),
    "credentials": (
        "credential credentials cred creds authorization authorisation proxyauthorization basicauth "
        "httpauth proxyauth digestauth authheader authheaders authstring authtoken logindata "
        "zugangsdaten anmeldedaten identifiants credenciales"
    ),
    "cookie": (
        "cookie cookies setcookie setcookie2 connectsid phpsessid jsessionid aspnetsessionid "
        "laravelsession cisession sailssid koasess sessioncookie wordpressloggedin"
    ),
    "connection_string": (
        "connectionstring connectionstrings connstring connstr connectionurl connectionuri dsn "
        "dsns jdbcurl sentrydsn"
    ),
    "secret_url": (
        "webhookurl webhookurls webhook webhooks incomingwebhook incomingwebhookurl magiclink "
        "magiclinks resetlink reseturl passwordresetlink passwordreseturl loginlink signinlink "
        "activationlink activationurl recoverylink verificationlink sasurl sasuri presignedurl "
        "signedurl"
    ),
    "prompt": "prompt prompts",
}
"""The names of secrets, written together, by the kind that stands for them in a record."""

LOW_ENTROPY: Final = frozenset(
    {"password", "pin", "otp", "cvv", "card", "iban", "identity_number", "prompt"}
)
"""Kinds whose values can be guessed, so that no fingerprint of them is recorded."""

_KIND_OF: Final = {word: kind for kind, text in _KINDS.items() for word in text.split()}
_PLURALS: Final = frozenset(
    word for word in _KIND_OF if word.endswith("s") and word[:-1] in _KIND_OF
)
_KEY_QUALIFIERS: Final = _set(
    "access account admin aes age api app application auth authentication backup cipher client "
    "cmac consumer cookie crypt crypto cryptographic csrf datadog dec decrypt decryption dek deploy "
    "deployment derived des developer device dsa ec ecdsa ed25519 enc encrypt encryption "
    "encryptor fernet function functions gpg hkdf hmac host ingest ingestion jwk jwt kek kms "
    "license licence mac maps master merchant openai anthropic pgp preshared priv private prv "
    "recovery rest root rsa sas seal secret secure service session shared sign signer signing ssh "
    "ssl storage stripe subscription symmetric tls unseal vault wallet webhook wep wifi wireguard "
    "wpa wrapping write x509"
)
# Suffixes of compound words such as PGPASSWORD or githubtoken.
_ENDS: Final[tuple[tuple[str, str], ...]] = (
    ("password", "password"),
    ("passphrase", "password"),
    ("passwd", "password"),
    ("passwort", "password"),
    ("kennwort", "password"),
    ("userpass", "password"),
    ("dbpass", "password"),
    ("rootpass", "password"),
    ("adminpass", "password"),
    ("storepass", "password"),
    ("keypass", "password"),
    ("pwd", "password"),
    ("pincode", "pin"),
    ("apikey", "key"),
    ("accesskey", "key"),
    ("privatekey", "key"),
    ("secretkey", "key"),
    ("secretkeybase", "secret"),
    ("clientsecret", "secret"),
    ("secret", "secret"),
    ("authtoken", "token"),
    ("token", "token"),
)
_ANY_END: Final = tuple(ending for ending, _ in _ENDS)
# Prefixes of compound words, whose rest is a word by itself: passwordhash, passwordreset.
_BEGINS: Final = ("password", "passwd", "passphrase")
_ANY_BEGINNING: Final = (*_BEGINS, "token", "secret")

_ABOUT: Final = _set(
    "accepted accessor active age alg algo algorithm allowed analysis arn at attempt attempts "
    "audience "
    "available backend banner based bits blocked budget by bytes category changed changes check "
    "checked checks class client complexity compromised config configuration configured consent "
    "cost count counter counts country created creation creator date day days decision decisions "
    "deleted denied department description dir directory disabled domain duration email enabled "
    "endpoint endpoints engine error errors event exceeded exists expected expiration expire expired "
    "expires expiring expiry extension fail failed failure failures family field fields file filename "
    "files fingerprint flow forgotten format found free generated generation generator grace group "
    "handler hash hint history holder host hosts iat icon id identifier identity idle ids in index "
    " info invalid is issued issuer kid kind label labels last latency leaked left len length "
    "less level lifetime limit limits list location locked log logs lookup manager managers "
    "match matches max maximum mean min minimum minutes mismatch missing mode model modified mount "
    "ms name names namespace needed notice nbf number numbers ok option options origin out output "
    "owner owners page param parameter parameters parser path paths per percent percentage period "
    "permission permissions placeholder plugin policies policy pool position prefix preference "
    "preferences present price priority profile protected provider providers purpose quality quota "
    "rate rates ratio reason received recipient ref reference refreshed region registered rejected "
    "remaining removed renewal renewed request requested requests required requirement requirements "
    "requires reset resets result results retries retry reuse revealed revocation revoked role roles "
    "rotate rotated rotation rule rules samesite scheme scope scopes score sec secs seconds seen "
    "sent server service set settings shape share size sizes source sources speed spent "
    "split stage stale state states status store stores strategy strength subject subtype success "
    "sub suffix synced system tag tags team template tenant threshold throughput time timeout times "
    "timestamp title total totals tracker transport ttl type types ui unit units until updated uri "
    "url urls usage use used user username users uses uuid valid validated validation validator "
    "validity vendor verified version versions visible vocabulary warning warnings weak "
    "weight window wrong year years zone ms us ns expiresat expiresin expiryms lifetimeseconds "
    "izer izers ize ized izing ization izations ary aries ly less free"
)
_ABOUT_AGAIN: Final = _set("new old current previous latest first last default")
# Words after the name of a secret that do not change its meaning; nor do numbers.
_STILL: Final = _set(
    "again answer b64 base base64 binary blob body clear cleartext code codes confirm confirmation "
    "confirmed content contents cookie current data decoded default dev development encoded "
    "encrypted entered env for given header headers hex json key keys literal live local main "
    "material new old original override payload pem phrase plain plaintext prev previous primary "
    "prod production provided raw repeat repeated response retype retyped secondary sha sha1 sha256 "
    "sha512 bcrypt staging str string submitted supplied test text txt v val value values verify "
    "word words"
)
_FACT_BEFORE: Final[dict[str, frozenset[str]]] = {
    "token": _set(
        "avg bos bytes cancel cancellation class classification cls continuation count "
        " deadline decode draft end eos eot fencing first generated image input k last lexer "
        "mask mean median min max n next num number of output pad padding page pagination per "
        "prefill remaining resume sep separator special speculative start stop sync "
        "total unk unknown vocab"
    ),
    "password": _set(
        "boarding cap day double dual ferry first fuel ghost has hall high is low lunch "
        "mountain multi needs no one park rail requires season second single ski smoke test tests "
        "through trans travel two visitor without band must forgot forgotten"
    ),
    "pin": _set("adc bus chip clk clock cs data drop enable gpio input led map miso mosi output pwm rx tx"),
    "secret": _set("has is needs no requires without"),
    "cookie": _set("has is needs no requires without accept accepts"),
    "credentials": _set("has is needs no requires without"),
    "key": _set("has is needs no requires without"),
    "secret_url": _set("has is no"),
    "prompt": _set("has is no"),
}  # fmt: skip
_HIDDEN_HASH: Final = frozenset({"password", "pin", "otp", "cvv", "card", "identity_number"})

_STEMS: Final = _set(
    "pass pw secret token key auth cookie cred jwt jwe jws otp pin puk tan mfa 2fa factor code "
    "cvv cvc card iban ssn ssi social national taxid tax_id tax-id licen steuer sozial saml "
    "assert bearer csrf xsrf verifier ticket tgt geheim segre sekret mnemonic seed phrase kube "
    "docker netrc private psk xprv nsec zugang anmelde identifiants sid sess connection connstr "
    "dsn jdbc hook link sas signed prompt wort mdp contrase clave senha wacht hasl hesl losenord "
    "adgang kode salasana parol jelsz sifre lozinka geslo slapt matkhau sandi jeton kredit pat "
    "blob material otc response cid2 ccn accountn logindata loggedin url"
)
"""One of them is in every key in ASCII that has a meaning; others need no further look."""

_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD: Final = re.compile(r"[^\W\d_]+|[0-9]+")
_INVISIBLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)


def words(key: str) -> list[str]:
    """The words of a key in lower case, without accents."""
    if not key.isascii():
        key = unicodedata.normalize("NFKC", _INVISIBLE.sub("", key))
    parts = _WORD.findall(_CAMEL.sub(" ", key))
    if key.isascii():
        return [part.lower() for part in parts]
    return [_plain(part) for part in parts]


def _plain(word: str) -> str:
    decomposed = unicodedata.normalize("NFKD", word.casefold().replace("\u0142", "l"))
    latin = "".join(c for c in decomposed if not unicodedata.combining(c))
    return latin if latin.isascii() else unicodedata.normalize("NFKC", word.casefold())


@lru_cache(maxsize=4096)
def meaning(key: str) -> Meaning | None:
    """Return the kind of secret that a key names, None for anything else."""
    if key.isascii():
        lowered = key.lower()
        if not any(stem in lowered for stem in _STEMS):
            return None
    parts = words(key)
    found = _last_noun(parts)
    if found is None:
        return None
    kind, start, end, plural = found
    before, after = parts[:start], parts[end:]
    if before and before[-1] in _FACT_BEFORE.get(kind, ()):
        return None
    if kind == "token" and plural and before and before[0] in ("max", "min", "num", "n"):
        return None
    while after and (after[-1].isdigit() or after[-1] in _STILL or len(after[-1]) == 1):
        after = after[:-1]
    if not after:
        return Meaning(kind, True, plural)
    if after[-1] in ("hash", "digest", "salted", "hashed"):
        return Meaning(f"{kind}_hash", True, plural) if kind in _HIDDEN_HASH else None
    if kind == "secret" and after == ["id"] and not plural:
        return Meaning(kind, True, plural)  # an AppRole's secret_id is the secret itself
    if any(word in _ABOUT or (word.endswith("ed") and len(word) > 4) for word in after):
        return None
    return Meaning(kind, False, plural)


def _last_noun(parts: list[str]) -> tuple[str, int, int, bool] | None:
    """The last words that name a secret: their kind, where they are, whether in the plural."""
    for end in range(len(parts), 0, -1):
        for size in (4, 3, 2, 1):
            start = end - size
            if start < 0:
                continue
            joined = "".join(parts[start:end])
            kind = _KIND_OF.get(joined)
            if kind is not None and not (size == 1 and _too_short_alone(joined, parts)):
                return kind, start, end, joined in _PLURALS or joined == "tokens"
            if size == 2 and parts[end - 1] in ("key", "keys") and parts[start] in _KEY_QUALIFIERS:
                return "key", start, end, parts[end - 1] == "keys"
        word = parts[end - 1]
        if not word.endswith(_ANY_END) and not word.startswith(_ANY_BEGINNING):
            continue
        for ending, kind in _ENDS:
            if word.endswith(ending):
                return kind, end - 1, end, False
        for beginning in _BEGINS:
            if word.startswith(beginning):
                rest = word.removeprefix(beginning)
                parts[end - 1 : end] = [beginning, rest]
                return "password", end - 1, end, False
        for noun in ("token", "secret"):
            rest = word.removeprefix(noun)
            if rest != word and rest in _STILL | {"s", "hash"}:
                return noun, end - 1, end, False
    return None


def _too_short_alone(word: str, parts: list[str]) -> bool:
    """Whether the word means something else: parole, assertion, and pat and tan beside others."""
    return word in ("parole", "assertion") or (word in ("pat", "tan") and len(parts) > 1)
